package tokenexchange

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

func TestCredential(t *testing.T) {
	unix := testNow.Add(2 * time.Hour).Unix()
	token := jwt(map[string]any{"sub": "jfac@01hq/users/ci.puller@corp", "exp": unix})
	for name, test := range map[string]struct {
		body             string
		username         string
		fields           Fields
		wantUser, wantIn string
		err              string
	}{
		"the token's own user and end":       {body: `{"access_token":"` + token + `"}`, wantUser: "ci.puller@corp", wantIn: "2h0m0s"},
		"a sub without a slash":              {body: `{"access_token":"` + jwt(map[string]any{"sub": "ci"}) + `","expires_in":60}`, wantUser: "ci", wantIn: "1m0s"},
		"the answer's user":                  {body: `{"access_token":"` + token + `","user":{"name":"bob"}}`, fields: Fields{Username: "user.name"}, wantUser: "bob", wantIn: "2h0m0s"},
		"the configured user":                {body: `{"access_token":"` + token + `","expires_in":60}`, username: "me", wantUser: "me", wantIn: "1m0s"},
		"the configured user before others":  {body: `{"access_token":"` + token + `","user":"bob"}`, username: "me", fields: Fields{Username: "user"}, wantUser: "me", wantIn: "2h0m0s"},
		"the answer's end before the JWT's":  {body: `{"access_token":"` + token + `","expires_in":60}`, username: "me", wantUser: "me", wantIn: "1m0s"},
		"seconds in quotes":                  {body: `{"access_token":"opaque","expires_in":"60"}`, username: "me", wantUser: "me", wantIn: "1m0s"},
		"seconds with a fraction":            {body: `{"access_token":"opaque","expires_in":6.05e1}`, username: "me", wantUser: "me", wantIn: "1m0.5s"},
		"a time before the seconds":          {body: `{"access_token":"opaque","expires_in":60,"at":"2030-01-02T04:04:05Z"}`, username: "me", fields: Fields{ExpiresAt: "at"}, wantUser: "me", wantIn: "1h0m0s"},
		"a time as Unix seconds":             {body: `{"access_token":"opaque","at":1893557045}`, username: "me", fields: Fields{ExpiresAt: "at"}, wantUser: "me", wantIn: "1h0m0s"},
		"Unix seconds in quotes":             {body: `{"access_token":"opaque","at":"1893557045"}`, username: "me", fields: Fields{ExpiresAt: "at"}, wantUser: "me", wantIn: "1h0m0s"},
		"seconds where there is no time":     {body: `{"access_token":"opaque","expires_in":60}`, username: "me", fields: Fields{ExpiresAt: "at"}, wantUser: "me", wantIn: "1m0s"},
		"null is nothing":                    {body: `{"access_token":"` + token + `","at":null,"expires_in":null}`, fields: Fields{ExpiresAt: "at"}, wantUser: "ci.puller@corp", wantIn: "2h0m0s"},
		"the last of two members is taken":   {body: `{"access_token":"a","access_token":"opaque","expires_in":60}`, username: "me", wantUser: "me", wantIn: "1m0s"},
		"no token":                           {body: `{"token":"opaque","expires_in":60}`, err: "holds no text at access_token; set fields.token"},
		"an empty token":                     {body: `{"access_token":""}`, err: "holds no text at access_token"},
		"a token in another case":            {body: `{"Access_Token":"opaque"}`, err: "holds no text at access_token"},
		"a token that is a number":           {body: `{"access_token":1}`, err: "holds no text at access_token"},
		"a token that is an object":          {body: `{"access_token":{}}`, err: "holds no text at access_token"},
		"a token in a list":                  {body: `{"a":[{"b":"opaque"}]}`, fields: Fields{Token: "a.b"}, err: "holds no text at a.b"},
		"a token beneath a text":             {body: `{"a":"b"}`, fields: Fields{Token: "a.b"}, err: "holds no text at a.b"},
		"no end at all":                      {body: `{"access_token":"opaque"}`, err: "does not say when its token ends: nothing is at expires_in, and the token is no JWT with an exp; set fields.expiresIn"},
		"a JWT without an end":               {body: `{"access_token":"` + jwt(map[string]any{"sub": "x"}) + `"}`, err: "does not say when its token ends"},
		"a JWT whose end is a text":          {body: `{"access_token":"` + jwt(map[string]any{"exp": "soon"}) + `"}`, err: "does not say when its token ends"},
		"no seconds":                         {body: `{"access_token":"` + token + `","expires_in":0}`, err: "holds at expires_in (fields.expiresIn) no positive number of seconds"},
		"seconds below nothing":              {body: `{"access_token":"` + token + `","expires_in":-1}`, err: "no positive number of seconds"},
		"seconds beyond all bounds":          {body: `{"access_token":"` + token + `","expires_in":1e300}`, err: "no positive number of seconds"},
		"seconds beyond floating point":      {body: `{"access_token":"` + token + `","expires_in":1e999}`, err: "no positive number of seconds"},
		"seconds in words":                   {body: `{"access_token":"` + token + `","expires_in":"1h"}`, err: "no positive number of seconds"},
		"seconds in a list":                  {body: `{"access_token":"` + token + `","expires_in":[60]}`, err: "no positive number of seconds"},
		"seconds that are true":              {body: `{"access_token":"` + token + `","expires_in":true}`, err: "no positive number of seconds"},
		"a time in milliseconds":             {body: `{"access_token":"opaque","at":1893553445000}`, fields: Fields{ExpiresAt: "at"}, err: "holds at at (fields.expiresAt) neither a time of RFC 3339 nor Unix seconds"},
		"a time in words":                    {body: `{"access_token":"opaque","at":"tomorrow"}`, fields: Fields{ExpiresAt: "at"}, err: "neither a time of RFC 3339 nor Unix seconds"},
		"a user of an opaque token":          {body: `{"access_token":"opaque","expires_in":60}`, err: "does not say whose login its token is: it is not a JWT; set username or fields.username"},
		"a sub that ends with a slash":       {body: `{"access_token":"` + jwt(map[string]any{"sub": "users/"}) + `","expires_in":60}`, err: "holds no user at the end of its token's sub"},
		"a JWT without a sub":                {body: `{"access_token":"` + jwt(map[string]any{"exp": unix}) + `"}`, err: "holds no user at the end of its token's sub; set username"},
		"a sub with a colon":                 {body: `{"access_token":"` + jwt(map[string]any{"sub": "system:serviceaccount:a:b", "exp": unix}) + `"}`, err: "holds a user at the end of its token's sub that has a colon"},
		"no user where it is to be":          {body: `{"access_token":"` + token + `"}`, fields: Fields{Username: "user"}, err: "holds no user at user (fields.username)"},
		"a user of 255 letters":              {body: `{"access_token":"` + token + `","user":"` + strings.Repeat("é", 255) + `"}`, fields: Fields{Username: "user"}, wantUser: strings.Repeat("é", 255), wantIn: "2h0m0s"},
		"a user of one more":                 {body: `{"access_token":"` + token + `","user":"` + strings.Repeat("é", 256) + `"}`, fields: Fields{Username: "user"}, err: "holds a user at user (fields.username) that is longer than 255 characters; set username"},
		"a sub that is longer":               {body: `{"access_token":"` + jwt(map[string]any{"sub": strings.Repeat("x", 256), "exp": unix}) + `"}`, err: "holds a user at the end of its token's sub that is longer than 255 characters"},
		"a user that is an object":           {body: `{"access_token":"` + token + `","user":{}}`, fields: Fields{Username: "user"}, err: "holds no user at user (fields.username)"},
		"a user with a control character":    {body: `{"access_token":"` + token + `","user":"a\u0000b"}`, fields: Fields{Username: "user"}, err: "a character that can't be printed"},
		"a user with half of a surrogate":    {body: `{"access_token":"` + token + `","user":"a\ud800b"}`, fields: Fields{Username: "user"}, err: "a character that can't be printed"},
		"a user's text where an object is":   {body: `{"access_token":"` + token + `","user":"bob"}`, fields: Fields{Username: "user.name"}, err: "holds no user at user.name"},
		"an object with the name of nothing": {body: `{"":"opaque"}`, fields: Fields{Token: "."}, err: "holds no text at ."},
	} {
		t.Run(name, func(t *testing.T) {
			config := Config{Username: test.username, Fields: test.fields}.withDefaults()
			answer, err := parseObject([]byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := config.credential(answer, nil, testNow)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || got != (providers.Credential{}) {
					t.Errorf("got %v, %v; want %q", got, err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			password, _ := answer.text(config.Fields.Token)
			if want := (dockerconfig.Login{Username: test.wantUser, Password: password}); got.Login != want {
				t.Errorf("got %s, want %s, or another password", got.Login, want)
			}
			if in := got.ExpiresAt.Sub(testNow).String(); in != test.wantIn {
				t.Errorf("good for %s, want %s", in, test.wantIn)
			}
		})
	}
}

func TestAMachineThatIsBehindTakesTheLoginForOverInTime(t *testing.T) {
	const behind = 7 * time.Minute
	theirs := testNow.Add(behind)
	for name, body := range map[string]string{
		"by a time in the answer": `{"access_token":"planted","at":"` + theirs.Add(time.Hour).Format(time.RFC3339) + `"}`,
		"by a time in the token":  `{"access_token":"` + jwt(map[string]any{"exp": theirs.Add(time.Hour).Unix()}) + `"}`,
		"by seconds, as they are": `{"access_token":"planted","expires_in":3600}`,
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			config.Fields.ExpiresAt = "at"
			server := newServer(t, answerOf(200, body).with("Date", theirs.Format(http.TimeFormat)))
			got, err := fetch(t, newProvider(t, config, server))
			if err != nil || !got.ExpiresAt.Equal(testNow.Add(time.Hour)) || got.Skew != "this machine's clock is 7m0s behind sso.example.com's" {
				t.Errorf("expires at %s, %q (%v)", got.ExpiresAt, got.Skew, err)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	const body = `{"a":{"b":{"c":"x"},"n":null,"":"empty"},"a.b":"dotted","l":["x"],"t":"text"}`
	for name, test := range map[string]struct{ path, want string }{
		"a member":                          {"t", `"text"`},
		"a member of members":               {"a.b.c", `"x"`},
		"an object":                         {"a.b", `{"c":"x"}`},
		"a list as a whole":                 {"l", `["x"]`},
		"no element of a list":              {"l.0", ""},
		"nothing beneath a text":            {"t.x", ""},
		"null is nothing":                   {"a.n", ""},
		"nothing beneath null":              {"a.n.x", ""},
		"an unknown name":                   {"x", ""},
		"an unknown name deeper down":       {"a.x.c", ""},
		"an empty path":                     {"", ""},
		"a path that ends with a dot":       {"a.", ""},
		"a path that begins with a dot":     {".a", ""},
		"a path that goes on behind a text": {"a.b.c.d", ""},
	} {
		t.Run(name, func(t *testing.T) {
			parsed, err := parseObject([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			got, found := parsed.lookup(test.path)
			if string(got) != test.want || found != (test.want != "") {
				t.Errorf("got %s, %t", got, found)
			}
		})
	}
}

func TestAnswersThatHoldNoLoginSayWhatToDo(t *testing.T) {
	many := `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1}`
	later := testNow.Add(5 * time.Minute).Format(http.TimeFormat)
	for name, test := range map[string]struct {
		reply reply
		class providers.Class
		want  []string
	}{
		"members are named": {
			answerOf(200, `{"token":"`+plantedToken+`","two words":1,"eyJhbGciOiJSUzI1NiJ9":2}`), providers.Transient,
			[]string{"token exchange at sso.example.com: the answer holds no text at access_token; set fields.token to where the token is (its members: token)"},
		},
		"ten members are enough":      {answerOf(200, many), providers.Transient, []string{"(its members: a, b, c, d, e, f, g, h, i, j)"}},
		"an empty object":             {answerOf(200, `{}`), providers.Transient, []string{"holds no text at access_token"}},
		"a list":                      {answerOf(200, `[]`), providers.Transient, []string{"answered 200 OK with application/json that can't be read"}},
		"null":                        {answerOf(200, `null`), providers.Transient, []string{"can't be read"}},
		"nothing":                     {answerOf(200, ``), providers.Transient, []string{"can't be read"}},
		"something behind the object": {answerOf(200, `{"access_token":"planted"}{}`), providers.Transient, []string{"can't be read"}},
		"a truncated object":          {answerOf(200, `{"access_token":"plan`), providers.Transient, []string{"can't be read"}},
		"a body that breaks off":      {good().with("Content-Length", "1000"), providers.Transient, []string{"can't be read"}},
		"a text":                      {reply{200, map[string]string{"Content-Type": "text/plain"}, "planted"}, providers.Transient, []string{"answered 200 OK with text/plain that can't be read"}},
		"a web page":                  {good().with("Content-Type", "text/html"), providers.Transient, []string{"with text/html instead of data; a proxy in between?"}},
		"a redirect":                  {answerOf(302, "").with("Location", "https://evil.example.com/"), providers.Transient, []string{"redirect (302 Found), which is not followed"}},
		"a token on two lines":        {answerOf(200, `{"access_token":"planted\nplanted","expires_in":60}`), providers.Transient, []string{"the answer's token holds characters that no token has"}},
		"a token of two words":        {answerOf(200, `{"access_token":"planted planted","expires_in":60}`), providers.Transient, []string{"the answer's token holds characters that no token has"}},
		"a token that is not ASCII":   {answerOf(200, `{"access_token":"planté","expires_in":60}`), providers.Transient, []string{"the answer's token holds characters that no token has"}},
		"a token of 64 KiB and more":  {answerOf(200, `{"access_token":"`+strings.Repeat("x", 64<<10+1)+`","expires_in":60}`), providers.Transient, []string{"the answer's token is longer than 65536 bytes"}},
		"more than a megabyte":        {answerOf(200, `{"access_token":"`+strings.Repeat("planted", 1<<18)+`"}`), providers.Transient, []string{"is longer than 1048576 bytes"}},
		"very deep nesting":           {answerOf(200, strings.Repeat(`{"a":`, 20000)+"1"+strings.Repeat("}", 20000)), providers.Transient, []string{"can't be read"}},
		"an end that is past": {
			answerOf(200, `{"access_token":"planted","at":"2030-01-02T03:04:05Z"}`), providers.Transient,
			[]string{"the answer's token expired at 2030-01-02T03:04:05Z already"},
		},
		"an end that is past by this machine's clock only": {
			answerOf(200, `{"access_token":"planted","at":"2030-01-02T03:04:05Z"}`).with("Date", testNow.Add(-time.Hour).Format(http.TimeFormat)), providers.ClockSkew,
			[]string{"already; this machine's clock is 1h0m0s ahead of sso.example.com's: set it right"},
		},
		"the seconds count from this machine's clock": {
			answerOf(200, `{"access_token":"planted","at":"2030-01-02T03:04:00Z"}`).with("Date", later), providers.ClockSkew,
			[]string{"this machine's clock is 5m0s behind sso.example.com's"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			config.Fields.ExpiresAt = "at"
			server := newServer(t, test.reply)
			credential, err := fetch(t, newProvider(t, config, server))
			if credential != (providers.Credential{}) {
				t.Error("got a credential")
			}
			checkMessage(t, err, test.class, test.want...)
			server.only(t)
		})
	}
}

// answers are seeds for the fuzz tests.
var answers = []string{
	``, `{}`, `null`, `[]`, `{"access_token":"opaque","expires_in":3600}`, `{"access_token":"a.eyJzdWIiOiJ1c2Vycy9ib2IiLCJleHAiOjQwMDAwMDAwMDB9.b"}`,
	`{"a":{"b":{"c":"x"}},"at":"2030-01-02T04:04:05Z"}`, `{"access_token":"x","expires_in":"1e3"}`, `{"access_token":"x","at":1893553445}`,
	`{"error":"invalid_grant","error_description":"no"}`, `{"errors":[{"status":401,"message":"no"}]}`, `{"error":{"code":403,"message":"no"}}`,
	`{"access_token":"\ud800","user":"a:b"}`, `{"access_token":"x","expires_in":-1e999}`, "\xff{}", `{"a":{"a":{"a":null}}}`,
}

func FuzzCredential(f *testing.F) {
	for _, body := range answers {
		f.Add([]byte(body), "access_token", "at", "user.name")
		f.Add([]byte(body), "a.b.c", "", "")
	}
	f.Fuzz(func(t *testing.T, body []byte, token, at, username string) {
		answer, err := parseObject(body)
		if err != nil {
			if answer != nil || json.Valid(body) && strings.HasPrefix(strings.TrimSpace(string(body)), "{") {
				t.Errorf("%q is not taken: %v", body, err)
			}
			return
		}
		got, err := Config{Fields: Fields{Token: token, ExpiresAt: at, Username: username}}.withDefaults().credential(answer, nil, testNow)
		if err != nil {
			if got != (providers.Credential{}) {
				t.Error("an error and a credential")
			}
			return
		}
		if (exchange.Call{}).CheckToken(got.Login.Password) != nil {
			return
		}
		// What is given out works in a dockerconfigjson and ends at a time
		// that can be stored.
		if got.Login.Username == "" || got.Login.Password == "" || strings.Contains(got.Login.Username, ":") || len([]rune(got.Login.Username)) > 255 {
			t.Errorf("got user %q, password %q", got.Login.Username, got.Login.Password)
		}
		logins := dockerconfig.Logins{"a.example.com": got.Login}
		if back, problems, err := dockerconfig.Parse(dockerconfig.Marshal(logins)); err != nil || len(problems) > 0 || back["a.example.com"] != got.Login {
			t.Errorf("%q:%q does not come back: %v, %v", got.Login.Username, got.Login.Password, problems, err)
		}
		if _, err := got.ExpiresAt.MarshalJSON(); err != nil {
			t.Errorf("%v: %v", got.ExpiresAt, err)
		}
	})
}

func FuzzLookup(f *testing.F) {
	for _, body := range answers {
		for _, path := range []string{"", ".", "a", "a.b.c", "a..b", "errors.0", "error.message"} {
			f.Add([]byte(body), path)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, path string) {
		parsed, err := parseObject(body)
		if err != nil {
			return
		}
		got, found := parsed.lookup(path)
		if found != (got != nil) || string(got) == "null" {
			t.Errorf("got %q, %t", got, found)
		}
		// The same by other means: member by member through decoded maps.
		want := decoded(t, body)
		for _, name := range strings.Split(path, ".") {
			inner, _ := want.(map[string]any)
			want = inner[name]
		}
		if path == "" {
			want = nil
		}
		var value any
		if found {
			value = decoded(t, got)
		}
		if !slices.Equal(marshalled(t, value), marshalled(t, want)) {
			t.Errorf("%q leads to %v, want %v", path, value, want)
		}
	})
}

// decoded keeps numbers as they are written: they may exceed every type.
func decoded(t *testing.T, text []byte) any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%q is no JSON: %v", text, err)
	}
	return value
}

func marshalled(t *testing.T, value any) []byte {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
