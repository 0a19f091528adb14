package fakecloud_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// jwtType and idTokenType are what a ServiceAccount's token is called in an
// exchange.
const (
	jwtType     = "urn:ietf:params:oauth:token-type:jwt"
	idTokenType = "urn:ietf:params:oauth:token-type:id_token"
)

// answer is what a service answered.
type answer struct {
	status int
	header http.Header
	text   string
}

// field returns a string of an answer in JSON by the names that lead to it, "" if
// it is not there.
func (a answer) field(names ...string) string {
	var value any
	if json.Unmarshal([]byte(a.text), &value) != nil {
		return ""
	}
	for _, name := range names {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	text, _ := value.(string)
	return text
}

// has checks the status of an answer and a part of its text.
func (a answer) has(t *testing.T, status int, part string) {
	t.Helper()
	if a.status != status || !strings.Contains(a.text, part) {
		t.Errorf("status %d, want %d; %q is not in %s", a.status, status, part, a.text)
	}
}

// send sends a request, follows no redirect, and marks an answer that was cut off.
func send(t *testing.T, cloud *fakecloud.Cloud, method, address string, body io.Reader, header http.Header) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	client := *cloud.HTTPClient()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	if err != nil {
		text = append(text, " (hung up)"...)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

// basic is the header with a login.
func basic(userName, password string) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(userName+":"+password))}}
}

// sendForm posts a form with changes: names, each followed by its new value, empty
// for a name that is to be left out.
func sendForm(t *testing.T, cloud *fakecloud.Cloud, address string, form url.Values, changes ...string) answer {
	t.Helper()
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	return send(t, cloud, http.MethodPost, address, strings.NewReader(changed(form, changes).Encode()), header)
}

// sendObject posts the parameters of a form as a JSON object.
func sendObject(t *testing.T, cloud *fakecloud.Cloud, address string, form url.Values, changes ...string) answer {
	t.Helper()
	object := map[string]string{}
	for name, values := range changed(form, changes) {
		object[name] = values[0]
	}
	body, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{"Content-Type": {"application/json"}}
	return send(t, cloud, http.MethodPost, address, strings.NewReader(string(body)), header)
}

func changed(form url.Values, changes []string) url.Values {
	all := url.Values{}
	for name, values := range form {
		all[name] = values
	}
	for i := 0; i < len(changes); i += 2 {
		all.Set(changes[i], changes[i+1])
		if changes[i+1] == "" {
			all.Del(changes[i])
		}
	}
	return all
}

// federated is a service that exchanges tokens for logins, with one identity that
// trusts the test's issuer.
type federated struct {
	service  fakecloud.Service
	audience string
	// exchange presents a token.
	exchange func(t *testing.T, token string) answer
	// userName and password are the login in an answer that is one.
	userName string
	password func(answer) string
	lifetime time.Duration
	// ref is an image that the login pulls, foreign one that it does not.
	ref, foreign string
	// problems are the statuses, and parts of the answers, to bad tokens.
	problems map[string]refusal
	// faults are those to injected faults.
	faults map[fakecloud.FaultKind]refusal
}

type refusal struct {
	status int
	part   string
}

// federations are all services that this is tried on.
var federations = map[string]func(t *testing.T, cloud *fakecloud.Cloud, i *issuer) federated{
	"Chainguard":           federatedChainguard,
	"Azure AD":             federatedAzureAD,
	"ACR":                  federatedACR,
	"Quay":                 federatedQuay,
	"a server of RFC 8693": federatedServer,
	"JFrog":                federatedJFrog,
	"Docker Hub":           federatedDockerHub,
}

func TestAFederatedLoginPullsFromItsRegistryUntilItExpires(t *testing.T) {
	for name, federate := range federations {
		t.Run(name, func(t *testing.T) {
			cloud, clock := start(t)
			i := newIssuer(t, cloud, clock)
			f := federate(t, cloud, i)
			push(t, cloud, f.ref)
			push(t, cloud, f.foreign)

			got := f.exchange(t, i.token(t, f.audience))
			got.has(t, http.StatusOK, "")
			password := f.password(got)
			if password == "" || f.password(f.exchange(t, i.token(t, f.audience))) == password {
				t.Fatal("there is no password, or two are the same")
			}
			for name, tt := range map[string]struct {
				ref, userName, password string
				want                    int
			}{
				"the login pulls":                            {f.ref, f.userName, password, 200},
				"not from another registry":                  {f.foreign, f.userName, password, 401},
				"not by another user name":                   {f.ref, "somebody", password, 401},
				"and the token of a ServiceAccount does not": {f.ref, f.userName, i.token(t, f.audience), 401},
			} {
				if got := status(t, pull(t, cloud, tt.ref, login(tt.userName, tt.password))); got != tt.want {
					t.Errorf("%s: status %d, want %d", name, got, tt.want)
				}
			}
			if got := pushes(t, cloud, f.ref, f.userName, password); got != http.StatusUnauthorized {
				t.Errorf("the login pushes with status %d", got)
			}
			clock.advance(f.lifetime - time.Minute)
			if got := status(t, pull(t, cloud, f.ref, login(f.userName, password))); got != http.StatusOK {
				t.Errorf("before it expires, the login pulls with status %d", got)
			}
			clock.advance(time.Minute)
			if got := status(t, pull(t, cloud, f.ref, login(f.userName, password))); got != http.StatusUnauthorized {
				t.Errorf("after it expired, the login pulls with status %d", got)
			}
			if issued := cloud.IssuedTokens(); !strings.Contains(strings.Join(issued, "\n"), password) {
				t.Error("the password is not among what was issued")
			}
		})
	}
}

// pushes returns the status that a push to the repository of an image begins with.
func pushes(t *testing.T, cloud *fakecloud.Cloud, ref, userName, password string) int {
	t.Helper()
	host, rest, _ := strings.Cut(ref, "/")
	repository, _, _ := strings.Cut(rest, ":")
	return send(t, cloud, http.MethodPost, "https://"+host+"/v2/"+repository+"/blobs/uploads/", http.NoBody, basic(userName, password)).status
}

// badTokens are tokens that nobody may accept.
func badTokens(t *testing.T, cloud *fakecloud.Cloud, i *issuer, audience string) map[string]string {
	t.Helper()
	cloud.AddIssuer(fakecloud.Issuer{URL: "https://down.example", Server: "http://127.0.0.1:1"})
	unknown := newKey(t, "key-2")
	forged := newKey(t, i.key.KeyID)
	secret := jose.JSONWebKey{Key: []byte(strings.Repeat("s", 64)), KeyID: i.key.KeyID}
	good := i.token(t, audience)
	none := "eyJhbGciOiJub25lIiwia2lkIjoia2V5LTEifQ." + strings.Split(good, ".")[1] + "."
	return map[string]string{
		"no token at all":       "nonsense",
		"algorithm none":        none,
		"algorithm HS256":       signed(t, i.claims(audience), jose.HS256, secret),
		"an unknown key":        signed(t, i.claims(audience), jose.ES256, unknown),
		"a forged signature":    signed(t, i.claims(audience), jose.ES256, forged),
		"expired":               i.token(t, audience, map[string]any{"exp": i.ago(0)}),
		"not valid yet":         i.token(t, audience, map[string]any{"nbf": i.ago(-time.Minute)}),
		"an unknown issuer":     i.token(t, audience, map[string]any{"iss": "https://unknown.example"}),
		"an unreachable issuer": i.token(t, audience, map[string]any{"iss": "https://down.example"}),
		"another subject":       i.token(t, audience, map[string]any{"sub": subject + "-2"}),
		"another audience":      i.token(t, "https://kubernetes.default.svc"),
	}
}

func TestFederatedServicesRefuseBadTokens(t *testing.T) {
	for name, federate := range federations {
		t.Run(name, func(t *testing.T) {
			cloud, clock := start(t)
			i := newIssuer(t, cloud, clock)
			f := federate(t, cloud, i)
			for problem, token := range badTokens(t, cloud, i, f.audience) {
				t.Run(problem, func(t *testing.T) {
					want, ok := f.problems[problem]
					if !ok {
						t.Fatal("the answer to it is not known")
					}
					got := f.exchange(t, token)
					got.has(t, want.status, want.part)
					if strings.Contains(got.text, token) || f.password(got) != "" {
						t.Error("the answer holds the token, or a password")
					}
				})
			}
		})
	}
}

func TestFederatedServicesShowFaultsInTheirProtocols(t *testing.T) {
	shared := map[fakecloud.FaultKind]refusal{
		fakecloud.HTML:       {http.StatusOK, "<h1>"},
		fakecloud.BadGateway: {http.StatusBadGateway, "<h1>"},
		fakecloud.Redirect:   {http.StatusTemporaryRedirect, ""},
		fakecloud.Truncate:   {http.StatusOK, "(hung up)"},
		fakecloud.Oversize:   {http.StatusOK, strings.Repeat(" ", fakecloud.OversizeBytes)},
		fakecloud.Empty:      {http.StatusOK, "{"},
	}
	for name, federate := range federations {
		t.Run(name, func(t *testing.T) {
			cloud, clock := start(t)
			i := newIssuer(t, cloud, clock)
			f := federate(t, cloud, i)
			for _, wants := range []map[fakecloud.FaultKind]refusal{shared, f.faults} {
				for kind, want := range wants {
					t.Run(string(kind), func(t *testing.T) {
						cloud.Fail(f.service, fakecloud.Fault{Kind: kind, Count: 1, RetryAfter: 3 * time.Second})
						got := f.exchange(t, i.token(t, f.audience))
						if got.status != want.status || !strings.Contains(got.text, want.part) {
							t.Errorf("status %d, want %d, in %.200s", got.status, want.status, got.text)
						}
						if f.password(got) != "" || got.header.Get("Retry-After") != "3" {
							t.Errorf("there is a password, or Retry-After is %q", got.header.Get("Retry-After"))
						}
						f.exchange(t, i.token(t, f.audience)).has(t, http.StatusOK, "")
					})
				}
			}
		})
	}
}

func TestTokensThatWereShownAreKnown(t *testing.T) {
	cloud, _ := start(t)
	cloud.Fail(fakecloud.Chainguard, fakecloud.Fault{Kind: fakecloud.HTML})
	form := func(token string) io.Reader { return strings.NewReader(url.Values{"subject_token": {token}}.Encode()) }
	basic := func(token string) string { return base64.StdEncoding.EncodeToString([]byte("example+pull:" + token)) }
	tests := map[string]struct {
		address string
		header  string
		body    io.Reader
		token   string
	}{
		"as a bearer, by a service that fails": {"https://issuer.enforce.dev/sts/exchange", "Bearer eyJa.b-_.c1", nil, "eyJa.b-_.c1"},
		"as a password":                        {"https://quay.io/oauth2/federation/robot/token", "Basic " + basic("eyJa.b.c2"), nil, "eyJa.b.c2"},
		"in a form":                            {"https://identity.docker.com/oauth/token", "", form("eyJa.b.c3"), "eyJa.b.c3"},
		"in JSON":                              {"https://identity.docker.com/oauth/token", "", strings.NewReader(`{"subject_token":"eyJa.b.c4"}`), "eyJa.b.c4"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			send(t, cloud, http.MethodPost, tt.address, tt.body, http.Header{"Authorization": {tt.header}})
			if shown := cloud.ShownTokens(); !slices.Contains(shown, tt.token) {
				t.Errorf("%q is not among %q", tt.token, shown)
			}
		})
	}
}
