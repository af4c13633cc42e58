// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/containernetworking/cni/pkg/version"

	"github.com/cni-isolation/firewall/pkg/diagnosis"
	"github.com/cni-isolation/firewall/pkg/firewall"
	"github.com/cni-isolation/firewall/pkg/netconf"
)

func (p plugin) showStatus(in input) error {
	lang, draws := graphs[in.value("graph")]
	if draws && (in.isJSON() || in.has("matrix")) {
		return in.command.refuse("--graph draws, and -o json and --matrix do not: only one of them")
	}
	v, err := p.engineFor(in).Survey()
	if err != nil {
		report := newReport(firewall.Survey{Problems: diagnosis.Explain(err, in.dataDir())})
		return errors.Join(err, p.answer(in, report, ""))
	}
	_, unread := readHost()
	v.Problems = append(v.Problems, diagnosis.Explain(unread, in.dataDir())...)
	for _, warning := range v.Warnings {
		p.warn(warning)
	}
	report, text := newReport(v), overview(v)
	switch {
	case draws:
		text = draw(v, lang)
	case in.has("matrix"):
		report.Matrix, text = newMatrix(v), matrix(v, painterFor(p.stdout))+describeAll(v.Problems)
	}
	if err := p.answer(in, report, text); err != nil {
		return err
	}
	if !v.InForce() {
		return errTold
	}
	return nil
}

// checkConfig reads the host's configuration, or a draft of it.
func (p plugin) checkConfig(in input) error {
	r := configReport{File: hostFile, Networks: []networksEntry{}, Problems: []diagnosis.Problem{}}
	var h netconf.Host
	var err error
	if len(in.operands) > 0 {
		r.File, r.Found = in.operands[0], true
		h, err = netconf.ReadDraft(r.File)
	} else {
		h, r.Found, err = netconf.ReadHost(r.File)
	}
	r.Valid = err == nil
	r.add(h)
	if err != nil {
		r.Problems = append(r.Problems, diagnosis.Problem{Problem: err.Error()})
		return errors.Join(err, p.answer(in, r, ""))
	}
	return p.answer(in, r, describeConfig(r, h))
}

func (p plugin) restore(in input) error {
	r, err := p.engineFor(in).Restore()
	report := restoreReport{Problems: problemsOf(err, in.dataDir())}
	text := ""
	if err == nil {
		report.Restored = &restored{r.Attachments, r.Bridges, r.Adopted}
		text = describeRestored(r)
	}
	return errors.Join(err, p.answer(in, report, text))
}

func describeRestored(r firewall.Restored) string {
	text := fmt.Sprintf("restored %s on %s", count(r.Attachments, "attachment"), count(r.Bridges, "bridge"))
	if r.Adopted > 0 {
		text += fmt.Sprintf(", %d adopted", r.Adopted)
	}
	return text + "\n"
}

func (p plugin) retire(in input) error {
	err := p.engineFor(in).Retire(in.has("force"))
	report := retireReport{Retired: err == nil, Problems: problemsOf(err, in.dataDir())}
	return errors.Join(err, p.answer(in, report, ""))
}

// cniVersions are the versions of the CNI specification that the plugin supports.
func cniVersions() version.PluginInfo { return version.VersionsStartingFrom("0.4.0") }

func (p plugin) version(in input) error {
	report := versionReport{Version: buildVersion, CNIVersions: cniVersions().SupportedVersions()}
	return p.answer(in, report, about(os.Args[0])+"\n")
}
