// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/nftables/userdata"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/cni-isolation/firewall/pkg/internal/wire"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// inHostOrder are the values that nf_tables, or nft, reads as a number of the host: what
// a mask of conntrack's bits is compared with, and the byte order in a set's user data.
var inHostOrder = wire.Values{
	"4/1/2/4/1": wire.Uint32, // NFTA_RULE_EXPRESSIONS, NFTA_LIST_ELEM, NFTA_EXPR_DATA, NFTA_BITWISE_MASK, NFTA_DATA_VALUE
	"13":        setUserdata, // NFTA_SET_USERDATA
}

// setUserdata prints the entries of user data: type, length and value.
func setUserdata(data []byte) string {
	var text string
	for len(data) >= 2 {
		kind, value := userdata.Type(data[0]), data[2:2+int(data[1])]
		data = data[2+len(value):]
		printed := wire.Bytes(value)
		if kind == userdata.NFTNL_UDATA_SET_KEYBYTEORDER {
			printed = wire.Uint32(value)
		}
		text += fmt.Sprintf("[%d %s]", kind, printed)
	}
	return text
}

// recorder keeps what is sent.
type recorder struct {
	*fakeSocket
	sent [][]byte
}

func (r *recorder) send(b []byte) error {
	r.sent = append(r.sent, bytes.Clone(b))
	return r.fakeSocket.send(b)
}

// transactions returns those that were sent.
func (r *recorder) transactions() (all [][]byte) {
	for _, b := range r.sent {
		if m, err := parseMessages(b); err == nil && m[0].kind == batchBegin {
			all = append(all, b)
		}
	}
	return all
}

// TestWire compares the bytes of an ADD and of a DEL with those that Linux takes. make
// archs does so on a machine with the other byte order.
func TestWire(t *testing.T) {
	t.Parallel()
	r := &recorder{fakeSocket: &fakeSocket{kernel: newKernel()}}
	rules := policy.Desired(isolatedOn("veth1", "10.1.0.2", "fd01::2"))
	got := new(txtar.Archive)
	for _, call := range []struct {
		name string
		do   func(*Snapshot) error
	}{
		{"apply", func(s *Snapshot) error { return s.Apply(rules, nil) }},
		{"remove", func(s *Snapshot) error { return s.Remove(rules) }},
	} {
		r.sent = nil
		s, err := read(newConn(r))
		if err == nil {
			err = call.do(s)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range r.transactions() {
			got.Files = append(got.Files, txtar.File{Name: call.name, Data: []byte(inHostOrder.Text(t, b))})
		}
	}
	compareGolden(t, "testdata/wire.txtar", got)
}
