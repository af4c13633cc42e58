// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestTell(t *testing.T) {
	Tell("nowhere", time.Now(), func() ([]string, []string) {
		t.Error("what was called without a listener")
		return nil, nil
	}, nil)

	var told []Step
	Listen(func(s Step) { told = append(told, s) })
	defer Listen(nil)
	failed := errors.New("failed")
	Tell("table", time.Now().Add(-time.Hour), Added("one", "two"), nil)
	Tell("table", time.Now(), Removed("one"), failed)
	Tell("table", time.Now(), Added(), failed)
	want := []Step{
		{Where: "table", Added: []string{"one", "two"}},
		{Where: "table", Removed: []string{"one"}, Err: failed},
	}
	if diff := cmp.Diff(want, told, cmpopts.IgnoreFields(Step{}, "Took"), cmpopts.EquateErrors()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if told[0].Took < time.Hour {
		t.Errorf("took %s", told[0].Took)
	}
}
