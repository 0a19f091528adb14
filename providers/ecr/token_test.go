package ecr

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
)

func TestParseToken(t *testing.T) {
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	for name, test := range map[string]struct {
		token string
		want  dockerconfig.Login
		err   string
	}{
		"user and password":          {token: encode("AWS:secret"), want: dockerconfig.Login{Username: "AWS", Password: "secret"}},
		"a password with colons":     {token: encode("AWS:a:b:"), want: dockerconfig.Login{Username: "AWS", Password: "a:b:"}},
		"line breaks within":         {token: encode("AWS:secret")[:8] + "\n" + encode("AWS:secret")[8:], want: dockerconfig.Login{Username: "AWS", Password: "secret"}},
		"nothing":                    {token: "", err: "without a colon"},
		"no colon":                   {token: encode("AWS"), err: "without a colon"},
		"no user":                    {token: encode(":secret"), err: "empty user or password"},
		"no password":                {token: encode("AWS:"), err: "empty user or password"},
		"only a colon":               {token: encode(":"), err: "empty user or password"},
		"no base64":                  {token: "not base64!", err: "not base64"},
		"base64 without its padding": {token: strings.TrimRight(encode("AWS:secret"), "="), err: "not base64"},
		"base64 for URLs":            {token: base64.URLEncoding.EncodeToString([]byte("AWS:\xff\xfe\xff")), err: "not base64"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseToken(test.token)
			if got != test.want {
				t.Errorf("got %#v", got)
			}
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("got error %v, want %q", err, test.err)
			}
		})
	}
}

func FuzzParseToken(f *testing.F) {
	for _, seed := range []string{"", "QVdTOnNlY3JldA==", "QVdT", "Og==", "%%%", "QVdTOg", "QVdTOjo6\n", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		login, err := parseToken(token)
		if err != nil {
			if login != (dockerconfig.Login{}) {
				t.Errorf("an error and a login")
			}
			return
		}
		if login.Username == "" || login.Password == "" || strings.Contains(login.Username, ":") {
			t.Errorf("got user %q, password %q", login.Username, login.Password)
		}
		// What was taken apart makes the token again.
		again := base64.StdEncoding.EncodeToString([]byte(login.Username + ":" + login.Password))
		if back, err := parseToken(again); err != nil || back != login {
			t.Errorf("%q gives %#v, %v", again, back, err)
		}
	})
}
