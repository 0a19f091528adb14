package dockerconfig

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// Replace puts logins into a dockerconfigjson, in place of those that it has
// under the same keys. Everything else in it stays as it is, what this package
// does not know included. An error means that the document as a whole is
// unusable, and holds no part of it.
func Replace(document []byte, logins Logins) ([]byte, error) {
	var config map[string]json.RawMessage
	if err := decodeObject(document, &config); err != nil {
		return nil, err
	}
	var auths struct {
		Auths map[string]json.RawMessage `json:"auths"`
	}
	if err := decodeObject(document, &auths); err != nil {
		return nil, err
	}
	if auths.Auths == nil {
		auths.Auths = map[string]json.RawMessage{}
	}
	for _, key := range slices.Sorted(maps.Keys(logins)) {
		auths.Auths[key] = encode(written(logins[key]))
	}
	config["auths"] = encode(auths.Auths)
	return encode(config), nil
}

// encode writes plain data as JSON, maps in order of their keys.
func encode(value any) []byte {
	var document bytes.Buffer
	encoder := json.NewEncoder(&document)
	encoder.SetEscapeHTML(false)
	// Strings and JSON that was read before: nothing here can fail to encode,
	// and a buffer takes every write.
	_ = encoder.Encode(value)
	return bytes.TrimSuffix(document.Bytes(), []byte("\n"))
}
