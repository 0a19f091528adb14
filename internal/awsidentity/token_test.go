package awsidentity

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/internal/awsidentity/awstest"
	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
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

func TestAMachineThatIsBehindTakesTheLoginForOverInTime(t *testing.T) {
	const behind = 7 * time.Minute
	token, expires := awstest.EncodedToken(), awstest.Now.Add(behind+12*time.Hour)
	run := begin(newIdentity(t, keyConfig(), nil), providers.Env{})
	run.http.header = http.Header{"Date": {awstest.Now.Add(behind).Format(http.TimeFormat)}}
	got, err := run.Login(Call{}, &token, &expires)
	if want := awstest.Now.Add(12 * time.Hour); err != nil || !got.ExpiresAt.Equal(want) {
		t.Errorf("expires at %s, want %s (%v)", got.ExpiresAt, want, err)
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

func TestLogin(t *testing.T) {
	token, broken, lines := awstest.EncodedToken(), "%%%", base64.StdEncoding.EncodeToString([]byte("AWS:a\nb"))
	later, now := awstest.Now.Add(time.Hour), awstest.Now
	date := func(at time.Time) http.Header { return http.Header{"Date": {at.Format(http.TimeFormat)}} }
	for name, test := range map[string]struct {
		token   *string
		expires *time.Time
		header  http.Header
		class   providers.Class
		want    string
	}{
		"a token for an hour":     {&token, &later, nil, 0, ""},
		"by a fast clock, too":    {&token, &later, date(now.Add(-7 * time.Minute)), 0, ""},
		"no token":                {nil, &later, nil, providers.Transient, "test at host: the answer holds no authorizationToken"},
		"no word of its end":      {&token, nil, nil, providers.Transient, "the answer holds no expiresAt"},
		"a password of two lines": {&lines, &later, nil, providers.Transient, "the answer's token holds characters that no token has"},
		"a broken token":          {&broken, &later, nil, providers.Transient, "the answer has an authorizationToken that is not base64"},
		"a token that ends now":   {&token, &now, date(now), providers.Transient, "the answer's token expired at 2030-01-02T03:04:05Z already"},
		"a token over by a fast clock": {&token, &now, date(now.Add(-13 * time.Hour)), providers.ClockSkew,
			"already; this machine's clock is 13h0m0s ahead of AWS's: set it right"},
	} {
		t.Run(name, func(t *testing.T) {
			run := begin(newIdentity(t, keyConfig(), nil), providers.Env{})
			run.http.header = test.header
			got, err := run.Login(Call{Call: exchange.Call{Action: "test", Host: "host"}}, test.token, test.expires)
			if test.class != 0 {
				awstest.CheckError(t, err, test.class, test.want)
				return
			}
			if err != nil || got.Login != (dockerconfig.Login{Username: "AWS", Password: awstest.Password}) || !got.ExpiresAt.Equal(later) {
				t.Errorf("got %v until %s, %v", got.Login, got.ExpiresAt, err)
			}
		})
	}
}
