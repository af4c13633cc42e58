// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/ns"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// add records the attachment, isolates all bridges in use and forwards the
// attachment's addresses. Repeated, it changes nothing, or puts right what
// somebody changed.
func (p plugin) add(args *skel.CmdArgs) error {
	if err := checkSandbox(args); err != nil {
		return err
	}
	conf, a, err := attachment(args)
	if err != nil {
		return err
	}
	l, unlock, err := p.locked(conf.DataDir)
	if err != nil {
		return err
	}
	defer unlock()

	p.warn(l.forgetLeaving(a.Port))
	takeBack, err := l.record(a)
	if err != nil {
		return err
	}
	before, rs := l.before(a.Bridge), l.with(a)
	tables, err := p.read(rs.Families(), a.Families())
	if err == nil {
		err = apply(tables, rs, before)
	}
	if err == nil {
		err = p.passOn(conf.PrevResult.Raw)
	}
	if err != nil {
		undoErr := undo(tables, a, before)
		if undoErr == nil { // else the record says what is still to be undone
			undoErr = takeBack()
		}
		return errors.Join(err, undoErr)
	}
	p.warn(l.adopt(a))
	return nil
}

// checkSandbox refuses the host's own network namespace before anything is
// done; skel finds out after the call.
func checkSandbox(args *skel.CmdArgs) error {
	if override := strings.ToUpper(args.NetnsOverride); override == "TRUE" || override == "1" {
		return nil
	}
	own, err := ns.CheckNetNS(args.Netns)
	if err != nil {
		return err
	}
	if own {
		return types.NewError(types.ErrInvalidNetNS, "CNI_NETNS is the network namespace that the plugin runs in", "")
	}
	return nil
}

// record writes the attachment's record, before any rule, so that whatever
// happens next there is something that can be finished or undone. takeBack
// brings the former state back.
func (l live) record(a policy.Attachment) (takeBack func() error, err error) {
	own, _ := l.split(keyOf(a))
	takeBack = func() error { return l.store.Remove(store.NewEntry(a)) }
	if len(own) > 0 {
		if before, err := l.store.Read(own[0]); err == nil {
			takeBack = func() error { return l.store.Put(before, []store.Entry{store.NewEntry(a)}) }
		}
	}
	return takeBack, l.store.Put(a, own)
}

// passOn writes the prevResult, which is the plugin's result, as it came.
func (p plugin) passOn(prevResult []byte) error {
	if _, err := p.stdout.Write(append(prevResult, '\n')); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// undo takes back what a failed ADD did to the bridge's ports and the tables.
// Isolation that was missing and that the records asked for stays.
func undo(tables *iptables.State, a policy.Attachment, before policy.RuleSet) error {
	was := policy.Bridge{Name: a.Bridge, IngressPolicy: policy.Open}
	if len(before.Bridges) > 0 {
		was = before.Bridges[0]
	}
	var err error
	if a.IngressPolicy == policy.Isolated || was.IngressPolicy == policy.Isolated {
		err = flagPorts(was)
	}
	return errors.Join(err, tables.Undo(policy.Desired(a), was.IngressPolicy.Isolates()))
}
