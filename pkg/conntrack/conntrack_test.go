// SPDX-License-Identifier: Apache-2.0

package conntrack

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// message returns what the kernel reports of a redirected connection.
func message() []byte {
	tuple := func(kind int, from, to string) []byte {
		a := nl.NewRtAttr(unix.NLA_F_NESTED|kind, nil)
		ip := a.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_IP, nil)
		ip.AddRtAttr(nl.CTA_IP_V4_SRC, netip.MustParseAddr(from).AsSlice())
		ip.AddRtAttr(nl.CTA_IP_V4_DST, netip.MustParseAddr(to).AsSlice())
		return a.Serialize()
	}
	m := []byte{unix.AF_INET, 0, 0, 0}
	m = append(m, tuple(nl.CTA_TUPLE_ORIG, "192.0.2.1", "192.0.2.254")...)
	m = append(m, tuple(nl.CTA_TUPLE_REPLY, "10.4.0.2", "192.0.2.1")...)
	return append(m, nl.NewRtAttr(nl.CTA_STATUS, []byte{0, 0, 0, statusDNAT | 1}).Serialize()...)
}

func TestParse(t *testing.T) {
	t.Parallel()
	f, err := parse(message())
	if err != nil || f.family != unix.AF_INET || f.status&statusDNAT == 0 || len(f.identity) != 1 {
		t.Errorf("got %+v, %v", f, err)
	}
	want := []filter{
		{netip.MustParseAddr("192.0.2.1"), nl.CTA_TUPLE_ORIG}, {netip.MustParseAddr("10.4.0.2"), nl.CTA_TUPLE_REPLY},
	}
	if !slices.Equal(f.ends, want) {
		t.Errorf("got ends %v, want %v", f.ends, want)
	}
	for end, of := range map[filter]bool{
		want[0]: true, want[1]: true,
		{want[0].address, nl.CTA_TUPLE_REPLY}:                   false,
		{netip.MustParseAddr("192.0.2.254"), nl.CTA_TUPLE_ORIG}: false,
	} {
		if got := f.isOf(map[filter]bool{end: true}); got != of {
			t.Errorf("%v: got %t, want %t", end, got, of)
		}
	}
}

// FuzzParse reads what the kernel never sends.
func FuzzParse(f *testing.F) {
	f.Add(message())
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, message []byte) { _, _ = parse(message) })
}

func TestFilters(t *testing.T) {
	t.Parallel()
	all := filtersOf([]netip.Addr{netip.MustParseAddr("10.4.0.2"), netip.MustParseAddr("fd00::2")})
	if len(all) != 4 || all[0].family() != unix.AF_INET || all[3].family() != unix.AF_INET6 {
		t.Errorf("got %+v", all)
	}
	if family := (filter{}).family(); family != unix.AF_UNSPEC {
		t.Errorf("the filter that lets all pass is of family %d", family)
	}
}
