// SPDX-License-Identifier: Apache-2.0

package host

// Docker28 is what Docker 28.5 and its successors write for the network docker0 and a
// container with a published port, with FORWARD closed, in the order and the words of
// moby's integration/network/bridge/iptablesdoc. Left out is the raw table's drop of
// direct routing, as with allow-direct-routing: nothing would get as far as FORWARD.
// "$i" is the program, "$a" and "$to" are the container's address.
const Docker28 = `
	for c in DOCKER DOCKER-BRIDGE DOCKER-CT DOCKER-FORWARD DOCKER-INTERNAL DOCKER-USER; do $i -N $c; done
	$i -P FORWARD DROP
	$i -A DOCKER -d $a ! -i docker0 -o docker0 -p tcp --dport 80 -j ACCEPT
	$i -A DOCKER ! -i docker0 -o docker0 -j DROP
	$i -A DOCKER-BRIDGE -o docker0 -j DOCKER
	$i -A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
	$i -A DOCKER-FORWARD -j DOCKER-CT
	$i -A DOCKER-FORWARD -j DOCKER-INTERNAL
	$i -A DOCKER-FORWARD -j DOCKER-BRIDGE
	$i -A DOCKER-FORWARD -i docker0 -j ACCEPT
	$i -I FORWARD -j DOCKER-FORWARD
	$i -I FORWARD -j DOCKER-USER
` + dockerNAT

// Docker20 is what Docker 20.10 to 27 write: those of Debian 11 to 13. What is not
// published, only the policy of FORWARD closes.
const Docker20 = `
	for c in DOCKER DOCKER-ISOLATION-STAGE-1 DOCKER-ISOLATION-STAGE-2 DOCKER-USER; do $i -N $c; done
	$i -P FORWARD DROP
	$i -A DOCKER -d $a ! -i docker0 -o docker0 -p tcp --dport 80 -j ACCEPT
	$i -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
	$i -A DOCKER-ISOLATION-STAGE-1 -j RETURN
	$i -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
	$i -A DOCKER-ISOLATION-STAGE-2 -j RETURN
	$i -A DOCKER-USER -j RETURN
	$i -I FORWARD -i docker0 -o docker0 -j ACCEPT
	$i -I FORWARD -i docker0 ! -o docker0 -j ACCEPT
	$i -I FORWARD -o docker0 -j DOCKER
	$i -I FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
	$i -I FORWARD -j DOCKER-ISOLATION-STAGE-1
	$i -I FORWARD -j DOCKER-USER
` + dockerNAT

const dockerNAT = `
	$i -t nat -N DOCKER
	$i -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
	$i -t nat -A OUTPUT ! -d $lo -m addrtype --dst-type LOCAL -j DOCKER
	$i -t nat -A DOCKER -i docker0 -j RETURN
	$i -t nat -A DOCKER ! -i docker0 -p tcp --dport 8080 -j DNAT --to-destination $to:80
`

// ufw is Debian's, told to forward nothing. It calls iptables by its path, and has nothing
// to do with the kernel's settings here.
const ufw = `
	for p in iptables ip6tables; do
		for s in "" -save -restore; do ln -sf /usr/sbin/$p-$variant$s /etc/alternatives/$p$s; done
	done
	sed -i 's/^IPT_SYSCTL=.*/IPT_SYSCTL=/; s/^DEFAULT_FORWARD_POLICY=.*/DEFAULT_FORWARD_POLICY="DROP"/' /etc/default/ufw
	ufw --force enable
`

// Docker makes rules of Docker's, for the addresses of one of its containers.
func (h *Host) Docker(rules, ipv4, ipv6 string) error {
	for _, family := range []string{
		"i=iptables; lo=127.0.0.0/8; a=" + ipv4 + "/32; to=" + ipv4,
		"i=ip6tables; lo=::1; a=" + ipv6 + "/128; to=[" + ipv6 + "]",
	} {
		if _, err := h.Run("sh", "-ec", family+rules); err != nil {
			return err
		}
	}
	return nil
}

// UFW has ufw filter the host. It writes to /etc: see Scratch.
func (h *Host) UFW() error {
	_, err := h.Run("sh", "-ec", "variant="+h.variant+ufw)
	return err
}
