package exchangetest

import (
	"reflect"
	"slices"
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
// can't be forgotten.
func CheckKeys[Config any](t *testing.T, base func() Config, key func(Config) string, changes map[string]Change[Config]) {
	t.Helper()
	fields := fieldsOf("", reflect.TypeFor[Config]())
	for _, field := range fields {
		if _, covered := changes[field]; !covered {
			t.Errorf("nobody says whether %s is part of the key", field)
		}
	}
	original := key(base())
	found := map[string]string{original: "nothing"}
	for field, change := range changes {
		if !slices.Contains(fields, field) {
			t.Errorf("there is no field %s", field)
		}
		config := base()
		change.Set(&config)
		if reflect.DeepEqual(config, base()) {
			t.Errorf("%s did not change", field)
		}
		got := key(config)
		if change.Indifferent != "" {
			if got != original {
				t.Errorf("%s changes the key, although: %s", field, change.Indifferent)
			}
			continue
		}
		if other, taken := found[got]; taken {
			t.Errorf("changing %s and changing %s make the same key", field, other)
		}
		found[got] = field
	}
}

func fieldsOf(prefix string, structure reflect.Type) []string {
	var names []string
	for i := range structure.NumField() {
		field := structure.Field(i)
		if field.Type.Kind() == reflect.Struct {
			names = append(names, fieldsOf(prefix+field.Name+".", field.Type)...)
			continue
		}
		names = append(names, prefix+field.Name)
	}
	return names
}
