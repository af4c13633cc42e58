// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// schemaObject is an object of a JSON schema.
type schemaObject struct {
	Properties           map[string]json.RawMessage
	AdditionalProperties *bool
}

// keys returns the keys that the schema allows.
func (o schemaObject) keys(t *testing.T) []string {
	t.Helper()
	if o.AdditionalProperties == nil || *o.AdditionalProperties {
		t.Error("the schema allows keys that are unknown")
	}
	return slices.Collect(maps.Keys(o.Properties))
}

// TestHostSchema compares the schema in docs with the keys of the program, and with their
// values.
func TestHostSchema(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/config.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		schemaObject
		Schema string                          `json:"$schema"`
		Defs   struct{ Settings schemaObject } `json:"$defs"`
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	if schema.Schema != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("it is of %s", schema.Schema)
	}
	anyOrder := cmpopts.SortSlices(func(a, b string) bool { return a < b })
	if diff := cmp.Diff([]string{keySchema, keyDefaults, keyNetworks}, schema.keys(t), anyOrder); diff != "" {
		t.Errorf("keys (-program +schema):\n%s", diff)
	}
	if diff := cmp.Diff(hostKeyNames(), schema.Defs.Settings.keys(t), anyOrder); diff != "" {
		t.Errorf("settings (-program +schema):\n%s", diff)
	}
	for _, k := range hostKeys {
		var property struct{ Enum []string }
		if err := json.Unmarshal(schema.Defs.Settings.Properties[k.name], &property); err != nil {
			t.Errorf("%s: %v", k.name, err)
		}
		if diff := cmp.Diff(k.values, property.Enum); diff != "" {
			t.Errorf("%s (-program +schema):\n%s", k.name, diff)
		}
	}
}
