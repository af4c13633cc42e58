// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/firewall"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// someHolders are networks: two share a bridge, and one has a port.
var someHolders = map[string]firewall.Holder{
	"br1": {Networks: []string{"blue", "red"}}, "veth1": {Networks: []string{"blue"}, Container: "1f3a9c40d2b7e8"},
}

func someDrop(from, to string, packets uint64) policy.Drop {
	return policy.Drop{From: from, To: to, Reason: policy.DropIsolation, CountedBy: policy.CountedByNFTables, Packets: packets, Bytes: 100 * packets}
}

func TestTableOfDrops(t *testing.T) {
	t.Parallel()
	late := someDrop("br1", "eth0", 3)
	late.Last = time.Date(2026, 1, 31, 12, 0, 0, 999, time.Local)
	frame := someDrop("veth1", "", 1<<64-1)
	frame.Reason, frame.Bytes = policy.DropFrame, 0
	old := someDrop("", "br1", 1)
	old.CountedBy = policy.CountedByIP6Tables
	var drops []drop
	for _, d := range []policy.Drop{late, frame, old} {
		drops = append(drops, newDrop(d, someHolders))
	}
	want := strings.Join([]string{
		"FROM                          TO               REASON     PACKETS               BYTES  LAST                 COUNTED BY",
		"blue, red (br1)               - (eth0)         isolation  3                     300    2026-01-31 12:00:00  nftables",
		"blue (veth1 of 1f3a9c40d2b7)  -                frame      18446744073709551615  0      -                    nftables",
		"-                             blue, red (br1)  isolation  1                     100    -                    ip6tables\n",
	}, "\n")
	if diff := cmp.Diff(want, tableOfDrops(drops)); diff != "" {
		t.Error(diff)
	}
	if got := tableOfDrops(nil); got != "Nothing was dropped since the rules were made.\n" {
		t.Errorf("got %q", got)
	}
}

// TestFollower reads counts one after the other, and tells what has come since.
func TestFollower(t *testing.T) {
	t.Parallel()
	var stdout bytes.Buffer
	f := &follower{plugin: plugin{stdout: &stdout}, isJSON: true}
	for n, reading := range []struct {
		counts []policy.Drop
		failed bool
		want   []uint64 // packets that are new
	}{
		{counts: []policy.Drop{someDrop("br1", "eth0", 5)}}, // what was before is not told
		{counts: []policy.Drop{someDrop("br1", "eth0", 5)}},
		{counts: []policy.Drop{someDrop("br1", "eth0", 7), someDrop("veth1", "", 1)}, want: []uint64{2, 1}},
		{counts: nil, failed: true},
		{counts: []policy.Drop{someDrop("br1", "eth0", 8), someDrop("veth1", "", 1)}, want: []uint64{1}},
		{counts: nil}, // the table is gone
		{counts: []policy.Drop{someDrop("br1", "eth0", 9)}, want: []uint64{9}},
		{counts: []policy.Drop{someDrop("br1", "eth0", 2)}, want: []uint64{2}}, // and was made anew
	} {
		stdout.Reset()
		for _, d := range f.grown(reading.counts) {
			f.tell(d, someHolders)
		}
		f.remember(reading.counts, !reading.failed)
		var got []uint64
		for decoder := json.NewDecoder(&stdout); decoder.More(); {
			var line grownReport
			if err := decoder.Decode(&line); err != nil {
				t.Fatal(err)
			}
			if line.NewBytes != 100*line.NewPackets {
				t.Errorf("reading %d: %+v", n, line)
			}
			got = append(got, line.NewPackets)
		}
		if diff := cmp.Diff(reading.want, got); diff != "" {
			t.Errorf("reading %d: %s", n, diff)
		}
	}
	f.isJSON = false
	f.tell(someDrop("br1", "", 4), someHolders)
	if got := stdout.String(); !strings.HasSuffix(got, "  blue, red (br1) > -  isolation  +4 packets  +400 bytes  nftables\n") {
		t.Errorf("got %q", got)
	}
}
