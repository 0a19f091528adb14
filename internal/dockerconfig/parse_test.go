package dockerconfig

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// basic returns the auth of a user and password.
func basic(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

// entries wraps entries in a dockerconfigjson.
func entries(text string) string { return `{"auths":{` + text + `}}` }

func TestParseReadsLoginsAsTheKubelet(t *testing.T) {
	ada := Logins{"reg.io": {Username: "ada", Password: "pw"}}
	tests := map[string]struct {
		document string
		want     Logins
	}{
		"username and password":      {entries(`"reg.io":{"username":"ada","password":"pw"}`), ada},
		"auth alone":                 {entries(`"reg.io":{"auth":"YWRhOnB3"}`), ada},
		"auth wins over the others":  {entries(`"reg.io":{"username":"eve","password":"no","auth":"YWRhOnB3"}`), ada},
		"an empty auth is no auth":   {entries(`"reg.io":{"username":"ada","password":"pw","auth":""}`), ada},
		"auth with a line break":     {entries(`"reg.io":{"auth":"YWRh\nOnB3\r\n"}`), ada},
		"padded auth":                {entries(`"reg.io":{"auth":"` + basic("ada", "pass") + `"}`), Logins{"reg.io": {"ada", "pass"}}},
		"unpadded auth":              {entries(`"reg.io":{"auth":"` + strings.TrimRight(basic("ada", "pass"), "=") + `"}`), Logins{"reg.io": {"ada", "pass"}}},
		"padded auth, line break":    {entries(`"reg.io":{"auth":"` + basic("ada", "pass") + `\n"}`), Logins{"reg.io": {"ada", "pass"}}},
		"a password with colons":     {entries(`"reg.io":{"auth":"` + basic("ada", "p:w:") + `"}`), Logins{"reg.io": {"ada", "p:w:"}}},
		"trailing NULs are kept":     {entries(`"reg.io":{"auth":"` + basic("ada", "pw\x00") + `"}`), Logins{"reg.io": {"ada", "pw\x00"}}},
		"a user name with a colon":   {entries(`"reg.io":{"username":"ada:b","password":"pw"}`), Logins{"reg.io": {"ada:b", "pw"}}},
		"a user without a password":  {entries(`"reg.io":{"auth":"` + basic("ada", "") + `"}`), Logins{"reg.io": {"ada", ""}}},
		"an empty token is no token": {entries(`"reg.io":{"auth":"` + basic("ada", "") + `","identitytoken":"","registrytoken":null}`), Logins{"reg.io": {"ada", ""}}},
		"a login beside a token":     {entries(`"reg.io":{"auth":"YWRhOnB3","identitytoken":"t"}`), ada},
		"not ASCII, in auth":         {entries(`"reg.io":{"auth":"` + basic("zoë", "pässwörd✓") + `"}`), Logins{"reg.io": {"zoë", "pässwörd✓"}}},
		"not ASCII, in the fields":   {entries(`"reg.io":{"username":"zoë","password":"p\u00e4ss"}`), Logins{"reg.io": {"zoë", "päss"}}},
		"field names in any case":    {`{"AUTHS":{"reg.io":{"UserName":"ada","PASSWORD":"pw"}}}`, ada},
		"fields of no interest, even ones that the kubelet would refuse": {
			`{"HttpHeaders":5,"credHelpers":{"x.io":"ecr"},"credsStore":"desktop","auths":{"reg.io":{"auth":"YWRhOnB3","email":5,"more":[]}}}`, ada},
		"the last of equal keys": {entries(`"reg.io":{"auth":"bad"},"reg.io":{"auth":"YWRhOnB3"}`), ada},
		"an empty document":      {`{}`, Logins{}},
		"auths that are null":    {`{"auths":null}`, Logins{}},
		"auths that are empty":   {`{"auths":{}}`, Logins{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, problems, err := Parse([]byte(test.document))
			if err != nil || len(problems) > 0 {
				t.Fatalf("problems %v, error %v", problems, err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("logins (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseLeavesOutUnusableEntries(t *testing.T) {
	tests := map[string]struct{ entry, message string }{
		"auth is not base64":              {`{"auth":"?secret?"}`, "its auth is not base64; write"},
		"auth is base64 inside spaces":    {`{"auth":" YWRhOnB3 "}`, "its auth is not base64; write"},
		"auth is URL-safe base64":         {`{"auth":"YTpiPz8_"}`, "its auth is URL-safe base64"},
		"a bad auth beside a good login":  {`{"auth":"!","username":"ada","password":"pw"}`, "its auth is not base64"},
		"auth has no colon":               {`{"auth":"c2VjcmV0"}`, `its auth holds no ":"`},
		"auth is nothing but line breaks": {`{"auth":"\n"}`, `its auth holds no ":"`},
		"an empty entry":                  {`{}`, "it holds no login, so that the kubelet would pull anonymously"},
		"a null entry":                    {`null`, "it holds no login"},
		"an email alone":                  {`{"email":"ada@reg.io"}`, "it holds no login"},
		"an auth of nothing":              {`{"auth":"Og=="}`, "it holds no login"},
		"an identity token alone":         {`{"identitytoken":"secret"}`, "it holds only an identity or registry token"},
		"a registry token alone":          {`{"registrytoken":"secret"}`, "it holds only an identity or registry token"},
		"an identity token and a user":    {`{"auth":"` + basic("u", "") + `","identitytoken":"secret"}`, "it holds only an identity or registry token"},
		"a password without a user":       {`{"password":"secret"}`, "it holds no user name"},
		"an auth without a user":          {`{"auth":"` + basic("", "secret") + `"}`, "it holds no user name"},
		"a login that is not UTF-8":       {`{"auth":"` + basic("ada", "secr\xe9t") + `"}`, "its user name or password is not UTF-8"},
		"a user that is not UTF-8":        {`{"auth":"` + basic("\xe9ve", "secret") + `"}`, "its user name or password is not UTF-8"},
		"a password that is a number":     {`{"username":"ada","password":5}`, "it must be a JSON object"},
		"an entry that is text":           {`"secret"`, "it must be a JSON object"},
		"an entry that is a list":         {`["secret"]`, "it must be a JSON object"},
	}
	good := Logins{"good.io": {Username: "ada", Password: "pw"}}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			document := entries(`"bad.io":` + test.entry + `,"good.io":{"auth":"YWRhOnB3"}`)
			logins, problems, err := Parse([]byte(document))
			if err != nil {
				t.Fatalf("the document was refused: %v", err)
			}
			if diff := cmp.Diff(good, logins); diff != "" {
				t.Errorf("the other entry (-want +got):\n%s", diff)
			}
			if len(problems) != 1 || !strings.HasPrefix(problems[0].String(), `entry "bad.io": `+test.message) {
				t.Fatalf("problems %q, want one that begins with %q", problems, test.message)
			}
			if strings.Contains(problems[0].String(), "secr") {
				t.Errorf("the message holds a credential: %s", problems[0])
			}
		})
	}
}

func TestParseRefusesDocuments(t *testing.T) {
	deep := `{"auths":{"reg.io":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}}`
	tests := map[string]struct{ document, want string }{
		"nothing at all":               {``, "not valid JSON: it breaks at byte 0"},
		"cut short":                    {`{"auths":{"reg.io":{"auth":"secret`, "not valid JSON: it breaks at byte 34"},
		"text after the end":           {`{} secret`, "not valid JSON: it breaks at byte 4"},
		"nested deeper than any entry": {deep, "not valid JSON: it breaks at byte 10018"},
		"null":                         {` null `, "not a JSON object"},
		"a list":                       {`["secret"]`, "not a JSON object"},
		"a text":                       {`"secret"`, "not a JSON object"},
		"auths that are a list":        {`{"auths":[]}`, `"auths" is not a JSON object`},
		"auths that are text":          {`{"auths":"secret"}`, `"auths" is not a JSON object`},
		"auths in capitals and a list": {`{"AUTHS":["secret"]}`, `"auths" is not a JSON object`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			logins, problems, err := Parse([]byte(test.document))
			if err == nil || err.Error() != test.want {
				t.Errorf("error %v, want %s", err, test.want)
			}
			if logins != nil || problems != nil {
				t.Errorf("got %v and %v beside an error", logins, problems)
			}
		})
	}
}

func TestParseLegacy(t *testing.T) {
	document := `{"reg.io":{"auth":"YWRhOnB3","email":"ada@reg.io"},"REG.io":{"auth":"YWRhOnB3"}}`
	logins, problems, err := ParseLegacy([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Logins{"reg.io": {Username: "ada", Password: "pw"}}, logins); diff != "" {
		t.Errorf("logins (-want +got):\n%s", diff)
	}
	want := []Problem{{Key: "REG.io", Message: `registry hosts are lower case for the kubelet; write "reg.io"`}}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	for _, refused := range []string{``, `null`, `[]`, `5`, `{"reg.io":`} {
		if _, _, err := ParseLegacy([]byte(refused)); err == nil {
			t.Errorf("%q was read", refused)
		}
	}
}

func TestParseKeepsOneEntryOfARegistry(t *testing.T) {
	tests := map[string]struct {
		document string
		want     string
		leftOut  []string
	}{
		"the plain host is preferred": {
			entries(`"https://reg.io/v2/":{"auth":"YTox"},"reg.io":{"auth":"YToy"},"https://reg.io":{"auth":"YToz"}`),
			"reg.io", []string{"https://reg.io", "https://reg.io/v2/"}},
		"docker.io is preferred": {
			entries(`"index.docker.io":{"auth":"YTox"},"https://index.docker.io/v1/":{"auth":"YToy"},"docker.io":{"auth":"YToz"}`),
			"docker.io", []string{"https://index.docker.io/v1/", "index.docker.io"}},
		"an unusable one does not stand in the way": {
			entries(`"reg.io":{},"https://reg.io":{"auth":"YToz"}`),
			"https://reg.io", []string{"reg.io"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			logins, problems, err := Parse([]byte(test.document))
			if err != nil {
				t.Fatal(err)
			}
			if len(logins) != 1 || logins[test.want].Username != "a" {
				t.Errorf("logins %v, want only %q", logins, test.want)
			}
			var leftOut []string
			for _, problem := range problems {
				leftOut = append(leftOut, problem.Key)
			}
			if diff := cmp.Diff(test.leftOut, leftOut); diff != "" {
				t.Errorf("left out (-want +got):\n%s", diff)
			}
		})
	}
	_, problems, _ := Parse([]byte(entries(`"reg.io":{"auth":"YTox"},"http://reg.io":{"auth":"YToy"}`)))
	want := `[entry "http://reg.io": the entry "reg.io" is for the same registry and is used instead; remove one of the two]`
	if got := fmt.Sprint(problems); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestProblemKeysAreFitToBePrinted(t *testing.T) {
	long := strings.Repeat("a", 1000) + ".io"
	document, err := json.Marshal(map[string]any{
		"https://ada:hunter2@reg.io": map[string]string{"auth": "YWRhOnB3"},
		"ada:hun@ter2@reg.io":        map[string]string{"auth": "YWRhOnB3"},
		long:                         map[string]string{"auth": "YWRhOnB3"},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, problems, err := ParseLegacy(document)
	if err != nil || len(problems) != 3 {
		t.Fatalf("problems %v, error %v", problems, err)
	}
	for _, problem := range problems {
		if text := problem.String(); strings.Contains(text, "ter2") || len(text) > 300 {
			t.Errorf("not fit to be printed: %s", text)
		}
	}
}

// A Secret holds at most 1 MiB; a source of that size must not hold up the
// others.
func TestParseIsFastOnTheLargestSecret(t *testing.T) {
	var text strings.Builder
	for i := 0; text.Len() < 1<<20; i++ {
		fmt.Fprintf(&text, `"%d.io":{},"R%d.io/*":{"auth":"YWRhOnB3"},`, i, i)
	}
	document := entries(text.String() + `"reg.io":{"auth":"YWRhOnB3"}`)
	start := time.Now()
	logins, problems, err := Parse([]byte(document))
	if err != nil || len(logins) != 1 || len(problems) < 10_000 {
		t.Errorf("%d logins, %d problems, error %v", len(logins), len(problems), err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}
