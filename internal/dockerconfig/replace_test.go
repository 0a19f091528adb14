package dockerconfig

import (
	"strings"
	"testing"
)

func TestReplaceKeepsEverythingElse(t *testing.T) {
	logins := Logins{"cgr.dev": {Username: "_token", Password: "new"}}
	const mine = `"cgr.dev":{"username":"_token","password":"new","auth":"X3Rva2VuOm5ldw=="}`
	for sentence, test := range map[string]struct{ document, want string }{
		"an empty document":       {`{}`, `{"auths":{` + mine + `}}`},
		"no logins at all":        {`{"auths":null}`, `{"auths":{` + mine + `}}`},
		"an older login":          {`{"auths":{"cgr.dev":{"auth":"b2xkOm9sZA=="}}}`, `{"auths":{` + mine + `}}`},
		"others' logins":          {`{"auths":{"ghcr.io":{"auth":"not base64","email":"<a&b>"}}}`, `{"auths":{` + mine + `,"ghcr.io":{"auth":"not base64","email":"<a&b>"}}}`},
		"fields that mean others": {`{"credHelpers":{"x":"y"},"HttpHeaders":{"a":1e3}}`, `{"HttpHeaders":{"a":1e3},"auths":{` + mine + `},"credHelpers":{"x":"y"}}`},
	} {
		t.Run(sentence, func(t *testing.T) {
			got, err := Replace([]byte(test.document), logins)
			if err != nil || string(got) != test.want {
				t.Fatalf("got %s, %v", got, err)
			}
			again, err := Replace(got, logins)
			if err != nil || string(again) != string(got) {
				t.Errorf("the second time %s, %v", again, err)
			}
		})
	}
}

func TestReplaceRefusesWhatIsNoDocument(t *testing.T) {
	for _, document := range []string{``, `null`, `[]`, `{"auths":["hunter2"]}`, `{"auths":`} {
		got, err := Replace([]byte(document), Logins{"r": {}})
		if err == nil || got != nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q gives %q, %v", document, got, err)
		}
	}
}

// Whatever stands in a document, the logins that were put in are read back, and
// those that were there still are.
func FuzzReplace(f *testing.F) {
	for _, seed := range []string{`{}`, `{"auths":{"a":{"auth":"dTpw"}}}`, `{"auths":{"a":{}},"x":[1,2]}`, `{"a":1,"a":2}`} {
		f.Add(seed)
	}
	logins := Logins{"cgr.dev": {Username: "u", Password: "p"}}
	f.Fuzz(func(t *testing.T, document string) {
		before, _, err := Parse([]byte(document))
		got, replaceErr := Replace([]byte(document), logins)
		if (err == nil) != (replaceErr == nil) {
			t.Fatalf("Parse says %v, Replace %v", err, replaceErr)
		}
		if err != nil {
			return
		}
		after, _, err := Parse(got)
		if err != nil || after["cgr.dev"] != logins["cgr.dev"] {
			t.Fatalf("read back %v, %v from %q", after, err, got)
		}
		for key, login := range before {
			if registry, _ := registryOf(key); registry != "cgr.dev" && after[key] != login {
				t.Errorf("the login of %q is another one", key)
			}
		}
	})
}
