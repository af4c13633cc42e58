// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Flowtable is a table of connections of another program. Once a connection is in it,
// its packets go from the ingress hook of one interface to the other, and see no chain
// on the hook forward (nf_flow_table_ip.c). A connection is only added from that hook,
// so its first packets were judged; and it leaves with its entry of connection tracking
// (flow_offload_lookup), which the plugin deletes when an address is freed or a policy
// becomes stricter.
type Flowtable struct{ Family, Table, Name string }

// Error names the flowtable.
func (f *Flowtable) Error() string {
	return fmt.Sprintf("flowtable %s of table %s %s", f.Name, f.Family, f.Table)
}

// OfFirewalld reports whether it comes from the setting NftablesFlowtable.
func (f *Flowtable) OfFirewalld() bool { return f.Table == firewalldTable }

// Attributes of a flowtable (NFTA_FLOWTABLE_...), which x/sys does not have.
const (
	flowtableTable = 1
	flowtableName  = 2
)

// flowtables returns those that forwarded packets may be in.
func (c *conn) flowtables() ([]*Flowtable, error) {
	var found []*Flowtable
	dump := request{kind: unix.NFT_MSG_GETFLOWTABLE, flags: unix.NLM_F_DUMP, anyFamily: true}
	err := c.dump(func(r reply) error {
		f := &Flowtable{Family: families[r.family]}
		if f.Family == "" {
			return nil
		}
		found = append(found, f)
		return eachAttr(r.attrs, func(kind int, value []byte) error {
			switch kind {
			case flowtableTable:
				f.Table = parseString(value)
			case flowtableName:
				f.Name = parseString(value)
			}
			return nil
		})
	}, dump, func() { found = nil })
	return found, err
}
