package dockerconfig

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// planted stands for every credential in the fuzzed documents.
const planted = "hunter2-planted"

// addSeeds gives both fuzz targets documents, and an entry to be put into one.
func addSeeds(f *testing.F, wrap func(string) string) {
	f.Helper()
	plantedAuth := base64.StdEncoding.EncodeToString([]byte("ada:" + planted))
	for _, entry := range []string{
		``, `"reg.io":{}`, `"reg.io":null`, `"reg.io":[]`,
		`"reg.io":{"auth":"` + plantedAuth + `"},"https://reg.io/v2/":{"username":"a:b","password":"` + planted + `"}`,
		`"index.docker.io":{"auth":"YTo6\n"},"docker.io":{"auth":"YTo6","identitytoken":"` + planted + `"}`,
		`"[::1]:5000":{"auth":"YTo6"},"*.io/a__":{"password":"` + planted + `"},"localhost":{"username":"\u2028<"}`,
	} {
		f.Add([]byte(wrap(entry)), "reg.io", "ada")
	}
	f.Add([]byte(`null`), "https://REG.io:5000/v1/a", plantedAuth)
	f.Add([]byte(`[[[[`), "f?o@[a-z].io/%74*", "YWRh_"+plantedAuth)
	f.Add([]byte(`{"auths":{"a":1}} `), "index.docker.io/v1", "\n=")
}

// checkParsed checks what holds for every document that was read.
func checkParsed(t *testing.T, logins Logins, problems []Problem, err error) {
	t.Helper()
	if err != nil {
		if logins != nil || problems != nil {
			t.Fatalf("logins %v and problems %v beside the error %v", logins, problems, err)
		}
		return
	}
	again, left, err := Parse(Marshal(logins))
	if err != nil || len(left) > 0 {
		t.Fatalf("what was parsed can't be read back: problems %v, error %v", left, err)
	}
	if diff := cmp.Diff(logins, again); diff != "" {
		t.Fatalf("read back (-first +second):\n%s", diff)
	}
	if merged, shadowed := Merge([]Source{{Logins: logins}}); len(shadowed) > 0 || !cmp.Equal(logins, merged) {
		t.Fatalf("merged alone, %v becomes %v", logins, merged)
	}
}

// checkNothingLeaks reports a credential in what people are shown.
func checkNothingLeaks(t *testing.T, document []byte, problems []Problem, err error) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Fatalf("the error holds a credential: %v", err)
	}
	for _, problem := range problems {
		// A key is no credential, whatever it looks like.
		if strings.Contains(problem.Message, "hunter2") && !strings.Contains(problem.Key, "hunter2") {
			t.Fatalf("%q gives a message with a credential: %s", document, problem)
		}
	}
}

// entryFor puts a fuzzed key and auth beside planted credentials.
func entryFor(key, auth string) map[string]any {
	return map[string]any{key: map[string]any{
		"auth": auth, "username": planted, "password": planted, "identitytoken": planted, "email": planted,
	}}
}

func FuzzParse(f *testing.F) {
	addSeeds(f, entries)
	f.Fuzz(func(t *testing.T, document []byte, key, auth string) {
		logins, problems, err := Parse(document)
		checkParsed(t, logins, problems, err)
		checkNothingLeaks(t, document, problems, err)

		document, err = json.Marshal(map[string]any{"auths": entryFor(key, auth)})
		if err != nil {
			t.Fatal(err)
		}
		logins, problems, err = Parse(document)
		if err != nil || len(logins)+len(problems) != 1 {
			t.Fatalf("%q gives %v, %v, %v", document, logins, problems, err)
		}
		checkParsed(t, logins, problems, err)
		checkNothingLeaks(t, document, problems, err)
	})
}

func FuzzParseLegacy(f *testing.F) {
	addSeeds(f, func(entry string) string { return "{" + entry + "}" })
	f.Fuzz(func(t *testing.T, document []byte, key, auth string) {
		logins, problems, err := ParseLegacy(document)
		checkParsed(t, logins, problems, err)
		checkNothingLeaks(t, document, problems, err)

		document, err = json.Marshal(entryFor(key, auth))
		if err != nil {
			t.Fatal(err)
		}
		logins, problems, err = ParseLegacy(document)
		if err != nil || len(logins)+len(problems) != 1 {
			t.Fatalf("%q gives %v, %v, %v", document, logins, problems, err)
		}
		checkParsed(t, logins, problems, err)
	})
}
