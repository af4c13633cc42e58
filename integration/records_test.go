// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cni-isolation/firewall/integration/host"
)

// dataDir is where the records live, unless a network says otherwise.
const dataDir = "/run/cni/firewall"

// isMark reports whether a file remembers a port or an address that outlives its record.
func isMark(name string) bool {
	return strings.HasPrefix(name, "leaving,") || strings.HasPrefix(name, "freed,")
}

// records returns the paths of what is remembered in all network namespaces. The
// lock stays, and so do ports that outlived their container's DEL.
func records(t *testing.T, dataDir string) []string {
	t.Helper()
	var found []string
	for _, path := range must(filepath.Glob(dataDir + "/*/*"))(t) {
		if name := filepath.Base(path); name != "lock" && !isMark(name) {
			found = append(found, path)
		}
	}
	return found
}

// recordOf returns the path of a container's record.
func recordOf(t *testing.T, dataDir string, c *host.Container) string {
	t.Helper()
	found := slices.DeleteFunc(records(t, dataDir), func(path string) bool {
		return !strings.Contains(string(must(os.ReadFile(path))(t)), `"`+c.Name+`"`)
	})
	if len(found) != 1 {
		t.Fatalf("%s has %d records: %q", c.Name, len(found), found)
	}
	return found[0]
}

// outcome is what a call of the plugin wrote, and how it ended.
type outcome struct {
	stdout, stderr string
	err            error
}

func finish(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	o := outcome{stdout.String(), stderr.String(), err}
	if strings.Contains(o.stderr, "goroutine ") {
		t.Errorf("a panic: %s", o.stderr)
	}
	return o
}

// verb calls a verb for a container, with the result of its ADD.
func verb(t *testing.T, h *host.Host, c *host.Container, verb string) outcome {
	t.Helper()
	return finish(t, host.Command(h.Firewall, verb, c.Conf(), c.Name, c.NetNS))
}

// silent wants success, nothing on standard output, and words on standard error.
func (o outcome) silent(t *testing.T, what string, words ...string) {
	t.Helper()
	if o.err != nil || o.stdout != "" {
		t.Errorf("%s: %v: %s%s", what, o.err, o.stdout, o.stderr)
	}
	contains(t, what, o.stderr, words)
}

// refused wants one error object with words in its message.
func (o outcome) refused(t *testing.T, what string, words ...string) {
	t.Helper()
	if o.err == nil {
		t.Errorf("%s succeeds: %s%s", what, o.stdout, o.stderr)
		return
	}
	contains(t, what, errorObject(t, o.stdout).Msg, words)
}

func contains(t *testing.T, what, text string, words []string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s says nothing of %q: %s", what, w, text)
		}
	}
}

// overviewNetwork is what "cni-firewall status -o json" tells of one network.
type overviewNetwork struct {
	Name, Bridge, IngressPolicy, PublishedPorts string
	Containers                                  []struct{ ID string }
}

type overview struct {
	Networks []overviewNetwork
	InForce  bool
	Problem  string
	Warnings []string
}

// look returns what the operator is told.
func look(t *testing.T, firewall string) overview {
	t.Helper()
	o := finish(t, exec.Command(firewall, "status", "-o", "json"))
	var v overview
	if err := json.Unmarshal([]byte(o.stdout), &v); err != nil || v.InForce != (o.err == nil) {
		t.Fatalf("status: %v, %v: %s%s", o.err, err, o.stdout, o.stderr)
	}
	return v
}

// ids returns the containers of a network, sorted.
func (v overview) ids(network string) []string {
	var all []string
	for _, n := range v.Networks {
		for _, c := range n.Containers {
			if n.Name == network {
				all = append(all, c.ID)
			}
		}
	}
	slices.Sort(all)
	return all
}

// ruins are what may become of a record's file, $f.
var ruins = map[string]string{
	"damaged":            `echo '{"version":2,}' > $f`,
	"truncated":          `truncate -s 20 $f`,
	"empty":              `truncate -s 0 $f`,
	"not JSON":           `head -c 3000 /dev/urandom > $f`,
	"of another":         `sed -i s/containerID\":\"/containerID\":\"another/ $f`,
	"of a later version": `sed -i 's/"version":2/"version":9/' $f`,
	"foreign":            `chown 12345 $f`,
	"a directory":        `rm $f; mkdir $f`,
	"a link":             `mv $f /run/moved; ln -s /run/moved $f`,
	"a pipe":             `rm $f; mkfifo $f`,
}

// aboutBridge returns what a state says of bridges, and not of one container.
func aboutBridge(text string, bridges ...string) []string {
	return slices.DeleteFunc(linesWith(text, bridges...), func(line string) bool {
		return strings.Contains(line, "set containers_") || strings.Contains(line, "set speakers_")
	})
}

// TestRuinedRecord ruins the record of a container, on a bridge with another one
// and with a third on a bridge of its own.
func TestRuinedRecord(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		w := newWorld(t, h, place{"isolated", "allow"}, place{"same-bridge", "deny"})
		w.checkAllOpen(t)
		w.protect(t, h)
		golden := state(t, h)
		one, peer := w.networks[0].server, w.networks[0].peer
		for name, script := range ruins {
			file := recordOf(t, dataDir, one)
			shell(t, h, "f='"+file+"'; "+script)
			others := slices.DeleteFunc(records(t, dataDir), func(path string) bool { return path == file })

			// Its addresses and its bridge stand in the name: nothing of others' depends on the content.
			must(peer.Call(h.Firewall, "CHECK"))(t)
			must(w.networks[1].server.Call(h.Firewall, "CHECK"))(t)
			verb(t, h, peer, "DEL").silent(t, name+": DEL of the peer")
			must(peer.Call(h.Firewall, "ADD"))(t)
			o := finish(t, exec.Command(h.Firewall, "restore"))
			if o.err == nil || !strings.Contains(o.stderr, file) {
				t.Errorf("%s: restore does not name %s: %v: %s", name, file, o.err, o.stderr)
			}
			if v := look(t, h.Firewall); !v.InForce || !strings.Contains(strings.Join(v.Warnings, "\n"), file) {
				t.Errorf("%s: status does not name %s: %v", name, file, v)
			}
			keeps(t, golden, state(t, h), name)

			verb(t, h, one, "DEL").silent(t, name+": DEL", file)
			left := state(t, h)
			guards := func(line string) bool { // which the name of the record asks for
				return strings.HasPrefix(line, "set guarded_") || strings.HasPrefix(line, "set speakers_")
			}
			if lines := slices.DeleteFunc(linesWith(left, one.IPv4+"/", one.IPv6+"/"), guards); len(lines) > 0 {
				t.Errorf("%s: DEL leaves\n%s", name, strings.Join(lines, "\n"))
			}
			if diff := gocmp.Diff(aboutBridge(golden, "br1", "br2"), aboutBridge(left, "br1", "br2")); diff != "" {
				t.Errorf("%s: DEL (-isolation before +after):\n%s", name, diff)
			}
			if _, err := os.Lstat(file); err != nil {
				t.Errorf("%s: DEL does not leave it alone: %v", name, err)
			}
			for _, path := range others {
				if _, err := os.Lstat(path); err != nil {
					t.Errorf("%s: DEL loses another record: %v", name, err)
				}
			}
			must(peer.Call(h.Firewall, "CHECK"))(t)

			shell(t, h, "rm -rf '"+file+"'") // as the operator would
			must(one.Call(h.Firewall, "ADD"))(t)
			same(t, canonical(golden), canonical(state(t, h)), name+": ADD")
		}
		w.check(t, usual, "with ruined records behind it")
		w.remove(t, h)
		same(t, before, remaining(t, h, state(t, h)), "after the last DEL")
		if left := records(t, dataDir); left != nil {
			t.Errorf("records left: %q", left)
		}
	})
}

// TestRecordReplaced has an ADD put a whole record in the place of a ruined one.
func TestRecordReplaced(t *testing.T) {
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, place{"isolated", "allow"})
		w.protect(t, h)
		golden := state(t, h)
		one := w.networks[0].server
		for name, script := range ruins {
			file := recordOf(t, dataDir, one)
			content := must(os.ReadFile(file))(t)
			shell(t, h, "f='"+file+"'; "+script)
			o := verb(t, h, one, "ADD")
			if name == "a directory" { // is nothing that a rename replaces
				o.refused(t, name, "record", file)
				shell(t, h, "rmdir '"+file+"'")
				o = verb(t, h, one, "ADD")
			}
			if o.err != nil || o.stdout != string(one.PrevResult)+"\n" {
				t.Errorf("%s: ADD: %v: %s%s", name, o.err, o.stdout, o.stderr)
			}
			if now := must(os.ReadFile(recordOf(t, dataDir, one)))(t); string(now) != string(content) {
				t.Errorf("%s: the new record says %s, and not %s", name, now, content)
			}
			same(t, golden, state(t, h), name+": ADD")
		}
	})
}

// TestForeignFiles has files in the store that are no records of this version.
// Every verb tells of them, works, and leaves them alone.
func TestForeignFiles(t *testing.T) {
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, place{"isolated", "allow"})
		w.protect(t, h)
		golden := state(t, h)
		e := w.networks[0]
		own := recordOf(t, dataDir, e.peer)
		dir, name := filepath.Split(own)
		files := []string{
			dir + "2" + strings.TrimPrefix(name, "1"),
			dir + "2,whatever,it,may,be.json",
			dir + "notes.txt",
			dir + strings.Replace(name, "br1", "br1%20", 1),
			dir + strings.Replace(name, "isolated", "closed", 1),
		}
		for _, f := range files {
			ok(t, os.WriteFile(f, []byte(`{"version":9}`), 0o600))
		}
		for _, v := range []string{"CHECK", "ADD", "DEL", "DEL"} {
			o := verb(t, h, e.server, v)
			if o.err != nil {
				t.Errorf("%s: %v: %s", v, o.err, o.stdout)
			}
			contains(t, v, o.stderr, files)
		}
		gc := e.network.Conf(map[string]any{"cniVersion": "1.1.0", "cni.dev/valid-attachments": []any{}})
		finish(t, host.Command(h.Firewall, "GC", gc, "", "")).silent(t, "GC", files...)
		for _, f := range files {
			if text, err := os.ReadFile(f); string(text) != `{"version":9}` {
				t.Errorf("%s: %v: %s", f, err, text)
			}
		}
		w.protect(t, h)
		same(t, canonical(golden), canonical(state(t, h)), "ADD")
	})
}

// disk is what is wrong with the place of the records.
type disk struct {
	name   string
	script string // spoils $d, the directory that networks give
	cure   string
	words  []string // that the message of ADD has in it
	early  bool     // also where there is no record yet
	blind  bool     // DEL cannot see the records, and goes by prevResult
}

const full = `dd if=/dev/zero of=$d/filler bs=4k 2>/dev/null || true`

var disks = []disk{
	{name: "full", early: true, script: full, cure: "rm $d/filler", words: []string{"no space left"}},
	{name: "read-only", early: true, script: "mount -o remount,ro $d", cure: "mount -o remount,rw $d", words: []string{"read-only"}},
	{name: "of another user", early: true, blind: true, script: "chown 12345 $d", cure: "chown 0 $d", words: []string{"/run/spoiled", "user 12345"}},
	{name: "writable by all", early: true, blind: true, script: "chmod 0777 $d", cure: "chmod 0700 $d", words: []string{"/run/spoiled", "0777"}},
	{name: "writable by all below", blind: true, script: "chmod 0770 $d/[0-9]*", cure: "chmod 0700 $d/[0-9]*", words: []string{"/run/spoiled/", "0770"}},
	{name: "of another user below", blind: true, script: "chown 12345 $d/[0-9]*", cure: "chown 0 $d/[0-9]*", words: []string{"/run/spoiled/", "user 12345"}},
}

// TestSpoiledDisk spoils the place of the records. ADD fails before it has done
// anything, DEL succeeds, and when it is cured nothing is lost or left.
func TestSpoiledDisk(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		for i, d := range disks {
			t.Logf("disk %s", d.name)
			testSpoiledDisk(t, h, d, i+1)
		}
	})
}

func testSpoiledDisk(t *testing.T, h *host.Host, d disk, n int) {
	t.Helper()
	const dir = "/run/spoiled"
	on := func(script string) { t.Helper(); shell(t, h, "d="+dir+"; "+script) }
	on("mkdir -p $d; mount -t tmpfs -o size=64k,mode=0700 tmpfs $d")
	defer on("umount $d")
	before := operators(h, state(t, h))
	conf := place{"isolated", "allow"}.firewall()
	conf["dataDir"] = dir
	network := host.Dual(fmt.Sprintf("net%d", n), fmt.Sprintf("br%d", n), n, conf)
	first := plain(t, h, network, fmt.Sprintf("first%d", n))
	second := must(h.Add(network, fmt.Sprintf("second%d", n), nil))(t)
	refused := func(c *host.Container) {
		t.Helper()
		was := state(t, h)
		verb(t, h, c, "ADD").refused(t, d.name+": ADD", d.words...)
		same(t, was, state(t, h), d.name+": ADD")
	}
	if d.early {
		on(d.script)
		refused(first)
		verb(t, h, first, "DEL").silent(t, d.name+": DEL of what is not there")
		same(t, before, operators(h, state(t, h)), d.name+": DEL of what is not there")
		on(d.cure)
		if left := records(t, dir); left != nil {
			t.Errorf("%s: ADD leaves %q", d.name, left)
		}
	}
	must(first.Call(h.Firewall, "ADD"))(t)
	one := operators(h, state(t, h))
	file := recordOf(t, dir, first)
	on(d.script)
	refused(second)
	same(t, one, operators(h, state(t, h)), d.name+": ADD of another container")
	o := verb(t, h, first, "DEL")
	o.silent(t, d.name+": DEL")
	if d.blind {
		contains(t, d.name+": DEL", o.stderr, d.words)
	}
	if lines := linesWith(state(t, h), first.IPv4+"/", first.IPv6+"/"); lines != nil {
		t.Errorf("%s: DEL leaves\n%s", d.name, strings.Join(lines, "\n"))
	}
	if _, err := os.Stat(file); err != nil && d.name != "full" {
		t.Errorf("%s: DEL lost what it could not see: %v", d.name, err)
	}
	on(d.cure)
	must(second.Call(h.Firewall, "ADD"))(t)
	must(second.Call(h.Firewall, "CHECK"))(t)
	for _, c := range []*host.Container{first, second} {
		verb(t, h, c, "DEL").silent(t, d.name+": DEL, cured")
	}
	network.Plain = true // the bridge plugin's own
	ok(t, first.Del())
	ok(t, second.Del())
	same(t, before, operators(h, state(t, h)), d.name+": cured, after the last DEL")
	if left := records(t, dir); left != nil {
		t.Errorf("%s: records left: %q", d.name, left)
	}
}

// TestFlush flushes all rules. One ADD isolates all bridges again, and "firewall
// restore" brings everything back.
func TestFlush(t *testing.T) {
	t.Parallel()
	const flags = "; for p in $(ls /sys/class/net/br2/brif); do bridge link set dev $p isolated off; done"
	for name, c := range map[string]struct {
		kind
		script string
	}{
		"rules":                {usual, "flush"},
		"rules and chains":     {usual, "wipe"},
		"rules and flags":      {unfiltered, "wipe" + flags},
		"with FORWARD at DROP": {closed, "wipe"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each := onEachBackend
			if c.forward == "DROP" {
				each = onEachVariant // with nftables it is this that STATUS tells of, at all times
			}
			each(t, func(t *testing.T, h *host.Host) { testFlush(t, h, c.kind, c.script) })
		})
	}
}

func testFlush(t *testing.T, h *host.Host, k kind, script string) {
	k.setUp(t, h)
	w := newWorld(t, h, place{"same-bridge", "allow"}, place{"isolated", "allow"}, place{"same-bridge", "deny"})
	w.checkAllOpen(t)
	w.protect(t, h)
	k.setForwardPolicy(t, h)
	w.check(t, k, "with the plugin")
	golden := state(t, h)
	status := func(variables ...string) outcome {
		t.Helper()
		conf := w.networks[0].network.Conf(map[string]any{"cniVersion": "1.1.0"})
		return finish(t, host.Command(h.Firewall, "STATUS", conf, "", "", variables...))
	}
	status().silent(t, "STATUS")
	complains := "CNI-"
	if h.Backend.HasTable() {
		complains = "cni_firewall"
	} else {
		unavailable := status("PATH=" + pathOf(t))
		unavailable.refused(t, "STATUS without programs", "iptables")
		if code := errorObject(t, unavailable.stdout).Code; code != 50 {
			t.Errorf("STATUS without programs: code %d", code)
		}
	}
	limited := func(when string) {
		t.Helper()
		o := status()
		o.refused(t, "STATUS "+when, "cni-firewall restore")
		if code := errorObject(t, o.stdout).Code; code != 51 {
			t.Errorf("STATUS %s: code %d", when, code)
		}
	}

	shell(t, h, script)
	if k.forward == "ACCEPT" {
		w.checkAllOpen(t)
	}
	limited("after a flush")
	verb(t, h, w.networks[2].peer, "CHECK").refused(t, "CHECK after a flush", complains)
	if k.forward == "ACCEPT" {
		must(w.networks[0].peer.Call(h.Firewall, "ADD"))(t)
		w.check(t, k, "after one ADD")
		limited("after one ADD")
	}
	must(h.Run(h.Firewall, "restore"))(t)
	same(t, canonical(golden), canonical(state(t, h)), "restore")
	w.call(t, h.Firewall, "CHECK")
	status().silent(t, "STATUS after restore")
	w.check(t, k, "after restore")
	handles := written(t, h)
	must(h.Run(h.Firewall, "restore"))(t)
	same(t, handles, written(t, h), "a second restore")
}

// contents returns all records, by path.
func contents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, path := range records(t, dataDir) {
		all[path] = string(must(os.ReadFile(path))(t))
	}
	return all
}

// TestPolicyOfOthers changes the policy of a network by the ADD of one of its
// containers. It holds for the others too, unless the ADD fails.
func TestPolicyOfOthers(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, place{"isolated", "allow"}, place{"same-bridge", "allow"})
		w.networks[1].alias = "another"
		w.checkAllOpen(t)
		w.protect(t, h)
		e := w.networks[0]
		newcomer := plain(t, h, e.network, "newcomer")
		policies := func(want ...overviewNetwork) {
			t.Helper()
			if diff := gocmp.Diff(want, look(t, h.Firewall).Networks, cmpopts.IgnoreFields(overviewNetwork{}, "Containers")); diff != "" {
				t.Fatalf("status (-want +got):\n%s", diff)
			}
		}
		another := overviewNetwork{Name: "net2", Bridge: "br2", IngressPolicy: "same-bridge", PublishedPorts: "allow"}
		own := func(p place) overviewNetwork {
			return overviewNetwork{Name: "net1", Bridge: "br1", IngressPolicy: p.Policy, PublishedPorts: p.PublishedPorts}
		}
		was := e.place
		policies(own(was), another)
		for _, p := range []place{{"same-bridge", "deny"}, {"isolated", "allow"}, {"open", "allow"}, {"isolated", "deny"}} {
			before, files := canonical(state(t, h)), contents(t)
			was := e.place
			e.become(p)
			adding := []*host.Container{newcomer}
			if !isMilder(p, was) { // which the same port again does not get
				adding = append(adding, e.peer)
			}
			for _, c := range adding {
				eachFault(t, h, failures, func(what string, try trial) {
					if try(c, "ADD") == succeeded {
						t.Errorf("ADD succeeds with %s", what)
					}
					same(t, before, canonical(state(t, h)), "ADD with "+what)
					if diff := gocmp.Diff(files, contents(t)); diff != "" {
						t.Fatalf("records (-before +after ADD with %s):\n%s", what, diff)
					}
				})
			}
			must(newcomer.Call(h.Firewall, "ADD"))(t)
			policies(own(p), another)
			for _, c := range []*host.Container{newcomer, e.server, e.peer} {
				must(c.Call(h.Firewall, "CHECK"))(t)
			}
			w.check(t, usual, "after ADD of a container with "+p.name())
			must(newcomer.Call(h.Firewall, "DEL"))(t)
			w.check(t, usual, "after DEL of a container with "+p.name())
		}
	})
}
