// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// commit sends requests as one transaction, which the kernel takes whole or not
// at all, and only as long as its tables are those of a generation. The error of
// a request that it refuses names the request by its index.
func (c *conn) commit(generation uint32, requests []request) error {
	begin := c.sequence + 1
	last := begin + uint32(len(requests))
	c.sequence = last + 1
	b := message(nil, unix.NFNL_MSG_BATCH_BEGIN, 0, begin, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES,
		attrUint32(unix.NFNL_BATCH_GENID, generation))
	for i, r := range requests {
		if i == len(requests)-1 {
			r.flags |= unix.NLM_F_ACK // errors are told of all; that the last is through, of this one
		}
		b = r.append(b, begin+1+uint32(i))
	}
	b = message(b, unix.NFNL_MSG_BATCH_END, 0, last+1, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	if err := c.send(b); err != nil {
		return err
	}
	var refused error
	for {
		done, err := c.answers(begin, func(i int, m syscall.NetlinkMessage) (bool, error) {
			if m.Header.Type != unix.NLMSG_ERROR {
				return false, nil
			}
			if err := errnoOf(m.Data); err != nil && refused == nil {
				refused = refusal{i - 1, err}
			}
			// The kernel answers to the beginning where it refuses all of it.
			return i == 0 || i == len(requests), nil
		})
		if err != nil {
			return err
		}
		if done {
			return refused
		}
	}
}

// refusal is the kernel's answer to one request of a transaction, or to all of
// it (index -1).
type refusal struct {
	index int
	errno error
}

func (r refusal) Error() string { return r.errno.Error() }

func (r refusal) Unwrap() error { return r.errno }
