// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// The package encoding/json takes keys in any case, the last of two that are the same, and
// null for nothing. A person who writes such a thing means more than he gets. So here
// objects are read key by key.

// member is a key of an object, and its value.
type member struct {
	key   string
	value json.RawMessage
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// parseTop returns the members of the object that a file consists of.
func parseTop(content []byte) ([]member, error) {
	switch {
	case len(bytes.TrimSpace(content)) == 0:
		return nil, errors.New("it is empty: write {}, or remove it")
	case bytes.HasPrefix(content, byteOrderMark):
		return nil, errors.New("it begins with a byte order mark: save it as UTF-8 without one")
	case !utf8.Valid(content):
		return nil, errors.New("it is not UTF-8")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(content, &whole); err != nil {
		return nil, inLine(content, err)
	}
	all, err := members(whole)
	if err != nil {
		return all, fmt.Errorf("it %w", err)
	}
	return all, nil
}

// inLine returns a syntax error with the number of its line.
func inLine(content []byte, err error) error {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	return fmt.Errorf("line %d: %w", 1+bytes.Count(content[:syntax.Offset], []byte("\n")), err)
}

// members returns the members of an object, in order. The JSON must be valid. Its error
// says what the value is; the members are those that are there once.
func members(raw json.RawMessage) ([]member, error) {
	if raw[0] != '{' {
		return nil, fmt.Errorf("must be an object, and is of type %s", typeOf(raw))
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	_, _ = d.Token() // the brace
	var all []member
	var twice error
	seen := map[string]bool{}
	for d.More() {
		var m member
		name, err := d.Token()
		m.key, _ = name.(string)
		if err = errors.Join(err, d.Decode(&m.value)); err != nil {
			return nil, err
		}
		if seen[m.key] {
			twice = fmt.Errorf("has the key %q twice", m.key)
			continue
		}
		seen[m.key] = true
		all = append(all, m)
	}
	return all, twice
}

// text returns a value that must be a string, and not an empty one: whoever writes that
// expects something of it.
func (m member) text() (string, error) {
	var text string
	if m.value[0] != '"' {
		return "", fmt.Errorf("must be a string, and is of type %s", typeOf(m.value))
	}
	if err := json.Unmarshal(m.value, &text); err != nil {
		return "", err
	}
	if text == "" {
		return "", errors.New("is empty: leave it out")
	}
	return text, nil
}

// typeOf returns what JSON calls the type of a value, as package encoding/json does.
func typeOf(raw json.RawMessage) string {
	switch raw[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "bool"
	case 'n':
		return "null"
	}
	return "number"
}
