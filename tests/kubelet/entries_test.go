package kubelet

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
)

func TestTheKubeletReadsAnEntry(t *testing.T) {
	ada := []dockerconfig.Login{{Username: "ada", Password: "pw"}}
	anonymous := []dockerconfig.Login{{}}
	padded := base64.StdEncoding.EncodeToString([]byte("ada:p"))
	tests := map[string]struct {
		entry json.RawMessage
		want  []dockerconfig.Login
	}{
		"username and password":               {entry("ada", "pw"), ada},
		"auth wins over the others":           {object("auth", "YWRhOnB3", "username", "eve", "password", "no"), ada},
		"an empty auth is no auth":            {object("auth", "", "username", "ada", "password", "pw"), ada},
		"padded auth":                         {object("auth", padded), []dockerconfig.Login{{Username: "ada", Password: "p"}}},
		"unpadded auth":                       {object("auth", strings.TrimRight(padded, "=")), []dockerconfig.Login{{Username: "ada", Password: "p"}}},
		"auth with a line break inside":       {object("auth", "YWRh\nOnB3"), ada},
		"a password with colons":              {entryWithAuth("ada", "p:w:"), []dockerconfig.Login{{Username: "ada", Password: "p:w:"}}},
		"an identity token alone":             {object("identitytoken", "t"), anonymous},
		"a registry token alone":              {object("registrytoken", "t"), anonymous},
		"nothing":                             {object(), anonymous},
		"an identity token beside a user":     {object("auth", "dTo=", "identitytoken", "t"), []dockerconfig.Login{{Username: "u"}}},
		"unknown fields and the e-mail":       {object("auth", "YWRhOnB3", "email", "ada@reg.io", "more", "x"), ada},
		"a user name with a colon in a field": {entry("a:b", "pw"), []dockerconfig.Login{{Username: "a:b", Password: "pw"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			source := entries{"reg.io": test.entry, "good.io": entry("eve", "pw")}
			k := mustKeyring(t, source.document())
			if diff := cmp.Diff(test.want, lookup(t, k, "reg.io/a")); diff != "" {
				t.Errorf("logins that are tried (-want +got):\n%s", diff)
			}
			expectAgreement(t, source, "reg.io/a", "good.io/a")
		})
	}
}

// One such entry, and the Pod can pull nothing, not even by its other Secrets.
// The project leaves out that entry alone.
func TestOneBadEntryBreaksEveryPullUnlessTheProjectLeavesItOut(t *testing.T) {
	good := entries{"good.io": entry("ada", "pw")}
	for name, bad := range map[string]json.RawMessage{
		"auth is not base64":             object("auth", "?"),
		"auth is URL-safe base64":        object("auth", "YTpiPz8_"),
		"auth has no colon":              object("auth", "c2VjcmV0"),
		"auth is base64 inside spaces":   object("auth", " YWRhOnB3 "),
		"auth is a line break":           object("auth", "\n"),
		"a bad auth beside a good login": object("auth", "?", "username", "ada", "password", "pw"),
		"a password that is a number":    []byte(`{"username":"ada","password":5}`),
		"an entry that is a list":        []byte(`[]`),
		"an entry that is text":          []byte(`"x"`),
	} {
		t.Run(name, func(t *testing.T) {
			source := entries{"bad.io": bad, "other.io": entry("eve", "pw")}
			if _, err := keyring(good.document(), source.document()); err == nil {
				t.Error("the kubelet reads it")
			}
			expectAgreement(t, source)
			logins, problems, err := dockerconfig.Parse(source.document())
			if err != nil || len(problems) != 1 || problems[0].Key != "bad.io" {
				t.Fatalf("the project gives the problems %v and the error %v", problems, err)
			}
			k := mustKeyring(t, good.document(), dockerconfig.Marshal(logins))
			for image, user := range map[string]string{"good.io/a": "ada", "other.io/a": "eve"} {
				if got := lookup(t, k, image); len(got) != 1 || got[0].Username != user {
					t.Errorf("for %s the kubelet tries %v, want %s", image, got, user)
				}
			}
		})
	}
}

func TestTheKubeletReadsADocument(t *testing.T) {
	tests := map[string]struct {
		document         string
		kubelet, project bool // whether they can read it
		logins           int
	}{
		"an empty one":                {`{}`, true, true, 0},
		"auths that are null":         {`{"auths":null}`, true, true, 0},
		"credential helpers alone":    {`{"credHelpers":{"reg.io":"ecr"}}`, true, true, 0},
		"HTTP headers beside a login": {`{"HttpHeaders":{"a":"b"},"credHelpers":{"x.io":"ecr"},"auths":{"reg.io":{"auth":"YWRhOnB3"}}}`, true, true, 1},
		"auths that are a list":       {`{"auths":[]}`, false, false, 0},
		"a list":                      {`[]`, false, false, 0},
		"text":                        {`"x"`, false, false, 0},
		"one that is cut short":       {`{"auths":{"reg.io":`, false, false, 0},
		"null, which holds no login":  {`null`, true, false, 0},
		"HTTP headers that are none, which the project has no use for": {`{"HttpHeaders":5,"auths":{"reg.io":{"auth":"YWRhOnB3"}}}`, false, true, 1},
		"an e-mail that is none, which the project has no use for":     {`{"auths":{"reg.io":{"auth":"YWRhOnB3","email":5}}}`, false, true, 1},
		"the last of two entries of one key":                           {`{"auths":{"reg.io":{"auth":"ZXZlOm5v"},"reg.io":{"auth":"YWRhOnB3"}}}`, true, true, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			k, err := keyring([]byte(test.document))
			if (err == nil) != test.kubelet {
				t.Errorf("the kubelet's error is %v", err)
			}
			logins, problems, err := dockerconfig.Parse([]byte(test.document))
			if (err == nil) != test.project || len(problems) > 0 || len(logins) != test.logins {
				t.Errorf("the project makes %v, %v and %v of it", logins, problems, err)
			}
			if !test.kubelet {
				return
			}
			want := lookup(t, k, "reg.io/a")
			got := lookup(t, mustKeyring(t, dockerconfig.Marshal(logins)), "reg.io/a")
			if diff := cmp.Diff(want, got); diff != "" || len(want) != test.logins {
				t.Errorf("logins (-of the source, +of the project's Secret):\n%s", diff)
			}
		})
	}
}
