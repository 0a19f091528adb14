package dockerconfig

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Parse reads a dockerconfigjson, the data of a Secret of type
// kubernetes.io/dockerconfigjson.
//
// An error means that the document as a whole is unusable. Otherwise the
// logins are those that the kubelet would use, none if there is no auths, and
// there is one Problem for every entry left out, in order of the keys. Where
// two keys name the same registry, the shorter one is used. What the kubelet
// ignores (credential helpers, HTTP headers, unknown fields) is ignored.
//
// Neither the error nor a Problem holds any part of a credential.
func Parse(document []byte) (Logins, []Problem, error) {
	// Raw entries, so that one that can't be decoded is left out alone: the
	// kubelet gives up on every login of the Pod at the first of them.
	var config struct {
		Auths map[string]json.RawMessage `json:"auths"`
	}
	if err := decodeObject(document, &config); err != nil {
		return nil, nil, err
	}
	logins, problems := readEntries(config.Auths)
	return logins, problems, nil
}

// ParseLegacy is Parse for a dockercfg, the data of a Secret of type
// kubernetes.io/dockercfg, whose entries stand at the top level.
func ParseLegacy(document []byte) (Logins, []Problem, error) {
	var entries map[string]json.RawMessage
	if err := decodeObject(document, &entries); err != nil {
		return nil, nil, err
	}
	logins, problems := readEntries(entries)
	return logins, problems, nil
}

// decodeObject decodes a JSON object. Its errors are its own because those of
// encoding/json quote the document.
func decodeObject(document []byte, into any) error {
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch err := json.Unmarshal(document, into); {
	case errors.As(err, &syntax):
		return fmt.Errorf("not valid JSON: it breaks at byte %d", syntax.Offset)
	case errors.As(err, &mismatch) && mismatch.Field == "auths":
		return errors.New(`"auths" is not a JSON object`)
	// encoding/json takes null for an empty object.
	case err != nil, !bytes.HasPrefix(bytes.TrimSpace(document), []byte("{")):
		return errors.New("not a JSON object")
	}
	return nil
}

// readEntries returns the usable logins and what is wrong with the others.
func readEntries(entries map[string]json.RawMessage) (Logins, []Problem) {
	logins := make(Logins, len(entries))
	var problems []Problem
	used := make(map[string]string, len(entries)) // registry -> key
	for _, key := range shortestFirst(entries) {
		registry, err := registryOf(key)
		var login Login
		if err == nil {
			login, err = readLogin(entries[key])
		}
		if other, taken := used[registry]; err == nil && taken {
			err = fmt.Errorf("the entry %q is for the same registry and is used instead; remove one of the two", other)
		}
		if err != nil {
			problems = append(problems, Problem{Key: printable(key), Message: err.Error()})
			continue
		}
		used[registry] = key
		logins[key] = login
	}
	slices.SortFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Message, b.Message))
	})
	return logins, problems
}

// shortestFirst sorts keys by length and then by text. Of two keys for one
// registry the plain host comes first, which tools other than the kubelet
// look up, and docker.io before index.docker.io, as the kubelet prefers it.
func shortestFirst[V any](entries map[string]V) []string {
	return slices.SortedFunc(maps.Keys(entries), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
}
