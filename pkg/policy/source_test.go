// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSources(t *testing.T) {
	t.Parallel()
	conflist, defaults := Sources{KeyBackend: "conflist", KeyZone: "unset"}, Sources{KeyBackend: "defaults", KeyZone: "unset"}
	both := Sources{KeyBackend: "conflist, defaults", KeyZone: "unset"}
	for name, c := range map[string]struct{ got, want Sources }{
		"one":               {conflist.With(conflist), conflist},
		"two":               {conflist.With(defaults), both},
		"in another order":  {defaults.With(conflist), both},
		"two, again":        {both.With(defaults), both},
		"nobody knows":      {Sources(nil).With(nil), nil},
		"one knows":         {Sources(nil).With(conflist), conflist},
		"the other one":     {conflist.With(nil), conflist},
		"like another":      {conflist.Like(defaults, KeyBackend), defaults},
		"like it elsewhere": {conflist.Like(defaults, KeyZone), conflist},
		"like nobody":       {conflist.Like(nil, KeyBackend), Sources{KeyZone: "unset"}},
		"nobody like one":   {Sources(nil).Like(conflist, KeyBackend), Sources{KeyBackend: "conflist"}},
		"nobody like none":  {Sources(nil).Like(nil, KeyBackend), nil},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if conflist[KeyBackend] != "conflist" || defaults[KeyBackend] != "defaults" {
		t.Error("the operands were changed")
	}
}

// TestSourcesAddUp has two entries of one conflist: the source is that of what holds.
func TestSourcesAddUp(t *testing.T) {
	t.Parallel()
	entry := func(p IngressPolicy, ports PublishedPorts, source string) Attachment {
		return Attachment{IngressPolicy: p, PublishedPorts: ports, Sources: Sources{
			KeyIngressPolicy: source, KeyPublishedPorts: source, KeyBackend: source,
		}}
	}
	for name, c := range map[string]struct {
		a, b                          Attachment
		ingressPolicy, publishedPorts string
	}{
		"the first":  {entry(Strict, Deny, "a"), entry(Open, Allow, "b"), "a", "a"},
		"the second": {entry(Open, Allow, "a"), entry(Strict, Deny, "b"), "b", "b"},
		"each":       {entry(Open, Deny, "a"), entry(Strict, Allow, "b"), "b", "a"},
		"both":       {entry(Isolated, Allow, "a"), entry(Strict, Allow, "b"), "a, b", "a"},
		"the same":   {entry(Strict, Deny, "a"), entry(Strict, Deny, "b"), "a", "a"},
	} {
		c.a.AddUp(c.b)
		want := Sources{KeyIngressPolicy: c.ingressPolicy, KeyPublishedPorts: c.publishedPorts, KeyBackend: "a"}
		if diff := cmp.Diff(want, c.a.Sources); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
