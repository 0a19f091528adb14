package exchangetest

import (
	"reflect"
	"strings"
	"testing"
)

// Change is what a test changes in one field of a configuration.
type Change[Config any] struct {
	Set func(*Config)
	// Indifferent is the reason for which the field is no part of the key;
	// empty for one that is.
	Indifferent string
}

// CheckKeys changes every field of a configuration, one at a time, and checks
// that no two of the keys are alike, but that fields which are Indifferent
// leave the key as it is. Changes are by the fields' names, fields of structs
// behind a dot; a field without a change fails the test, so that a new one
// can't be forgotten. Several changes of a field are told apart by words behind
// a space. A struct that is changed by its own name is one field.
func CheckKeys[Config any](t *testing.T, base func() Config, key func(Config) string, changes map[string]Change[Config]) {
	t.Helper()
	covered := map[string]bool{}
	for name := range changes {
		field, _, _ := strings.Cut(name, " ")
		covered[field] = true
	}
	fields := fieldsOf("", reflect.TypeFor[Config](), covered)
	for _, field := range fields {
		if !covered[field] {
			t.Errorf("nobody says whether %s is part of the key", field)
		}
		delete(covered, field)
	}
	for field := range covered {
		t.Errorf("there is no field %s", field)
	}
	original := key(base())
	found := map[string]string{original: "nothing"}
	for name, change := range changes {
		config := base()
		change.Set(&config)
		if reflect.DeepEqual(config, base()) {
			t.Errorf("%s did not change", name)
		}
		got := key(config)
		if change.Indifferent != "" {
			if got != original {
				t.Errorf("%s changes the key, although: %s", name, change.Indifferent)
			}
			continue
		}
		if other, taken := found[got]; taken {
			t.Errorf("changing %s and changing %s make the same key", name, other)
		}
		found[got] = name
	}
}

// fieldsOf are the fields of a structure, those of inner ones in their place
// unless these are whole.
func fieldsOf(prefix string, structure reflect.Type, whole map[string]bool) []string {
	var names []string
	for i := range structure.NumField() {
		field := structure.Field(i)
		name := prefix + field.Name
		if field.Type.Kind() == reflect.Struct && !whole[name] {
			names = append(names, fieldsOf(name+".", field.Type, whole)...)
			continue
		}
		names = append(names, name)
	}
	return names
}
