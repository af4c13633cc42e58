// SPDX-License-Identifier: Apache-2.0

package netconf

// What to do instead of a value.
const (
	adviceUnset     = `leave "backend" out, and the plugin chooses`
	adviceNone      = `take the plugin's entry out of the conflist, and it makes no rules`
	adviceIPTables  = `write "iptables", which has the rules of IPv6, too, in the variant that PATH leads to`
	adviceNFTables  = `write "nftables"`
	adviceFirewalld = `write "firewalld"`
)

// otherBackends are values that other plugins and tools take for their backend, by their
// letters: Calico has "Auto", "Legacy" and "NFT", netavark has "none". Upstream's plugin
// takes them all for no value.
var otherBackends = map[string]string{
	"auto":    adviceUnset,
	"default": adviceUnset,

	"none":     adviceNone,
	"off":      adviceNone,
	"false":    adviceNone,
	"no":       adviceNone,
	"disabled": adviceNone,

	"ip6tables":      adviceIPTables,
	"iptable":        adviceIPTables,
	"iptableslegacy": adviceIPTables,
	"iptablesnft":    adviceIPTables,
	"legacy":         adviceIPTables,
	"xtables":        adviceIPTables,
	"ufw":            adviceIPTables,

	"nft":     adviceNFTables,
	"nftable": adviceNFTables,

	"firewall":    adviceFirewalld,
	"firewallcmd": adviceFirewalld,
}
