package fakecloud_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

const (
	chainguardURL  = "https://issuer.enforce.dev/sts/exchange"
	chainguardUIDP = "720909c9f5279097d847ad02120b5fc0e6d84e3e/0123456789abcdef"
)

// exchangeChainguard presents a token in the way of Chainguard.
func exchangeChainguard(t *testing.T, cloud *fakecloud.Cloud, token string, changes ...string) answer {
	t.Helper()
	form := changed(url.Values{"aud": {"cgr.dev"}, "identity": {chainguardUIDP}}, changes)
	header := http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/x-www-form-urlencoded"}}
	return send(t, cloud, http.MethodPost, chainguardURL, strings.NewReader(form.Encode()), header)
}

func chainguardPassword(a answer) string { return a.field("token") }

func federatedChainguard(_ *testing.T, cloud *fakecloud.Cloud, i *issuer) federated {
	cloud.AddChainguardIdentity(fakecloud.ChainguardIdentity{UID: chainguardUIDP, Issuer: i.URL, Subject: subject})
	cloud.AddStaticLogin("registry.example.com", "robot", "s3cret")
	unauthenticated := refusal{http.StatusUnauthorized, `"code":16,`}
	denied := refusal{http.StatusForbidden, `"code":7,`}
	return federated{
		service: fakecloud.Chainguard, audience: "https://issuer.enforce.dev",
		exchange: func(t *testing.T, token string) answer { return exchangeChainguard(t, cloud, token) },
		userName: "_token", password: chainguardPassword, lifetime: time.Hour,
		ref: "cgr.dev/team/app:v1", foreign: "registry.example.com/team/app:v1",
		problems: map[string]refusal{
			"no token at all":       unauthenticated,
			"algorithm none":        unauthenticated,
			"algorithm HS256":       unauthenticated,
			"an unknown key":        unauthenticated,
			"a forged signature":    unauthenticated,
			"expired":               unauthenticated,
			"not valid yet":         unauthenticated,
			"an unknown issuer":     unauthenticated,
			"an unreachable issuer": {http.StatusServiceUnavailable, `"code":14,`},
			"another subject":       denied,
			"another audience":      denied,
		},
		faults: map[fakecloud.FaultKind]refusal{
			fakecloud.Throttle:    {http.StatusTooManyRequests, `"code":8,`},
			fakecloud.ServerError: {http.StatusInternalServerError, `"code":13,`},
			fakecloud.Denied:      denied,
			fakecloud.Empty:       {http.StatusOK, `"expiry":null`},
		},
	}
}

func TestChainguardWantsAnAudienceAndAnIdentity(t *testing.T) {
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	f := federatedChainguard(t, cloud, i)
	token := i.token(t, f.audience)
	bearer := http.Header{"Authorization": {"Bearer " + token}}
	json := http.Header{"Authorization": bearer["Authorization"], "Content-Type": {"application/json"}}
	query := "?" + url.Values{"aud": {"cgr.dev"}, "identity": {chainguardUIDP}}.Encode()

	tests := map[string]struct {
		got    answer
		status int
		part   string
	}{
		"a query does as well as a form":          {send(t, cloud, http.MethodPost, chainguardURL+query, http.NoBody, bearer), 200, `"token":"ey`},
		"GET does as well as POST":                {send(t, cloud, http.MethodGet, chainguardURL+query, http.NoBody, bearer), 200, `"expiry":"`},
		"a body of JSON is not read":              {send(t, cloud, http.MethodPost, chainguardURL, strings.NewReader(`{"aud":"cgr.dev"}`), json), 400, `"code":3,`},
		"other methods are not implemented":       {send(t, cloud, http.MethodPut, chainguardURL+query, http.NoBody, bearer), 501, `"code":12,`},
		"other paths are not found":               {send(t, cloud, http.MethodPost, "https://issuer.enforce.dev/sts", http.NoBody, bearer), 404, `"code":5,`},
		"a token is wanted":                       {send(t, cloud, http.MethodPost, chainguardURL+query, http.NoBody, nil), 401, `"code":16,`},
		"an audience is wanted":                   {exchangeChainguard(t, cloud, token, "aud", ""), 400, `"code":3,`},
		"an identity is wanted":                   {exchangeChainguard(t, cloud, token, "identity", ""), 400, `"code":3,`},
		"an identity has no dots in it":           {exchangeChainguard(t, cloud, token, "identity", "../"+chainguardUIDP), 400, `"code":3,`},
		"an identity that is not there not found": {exchangeChainguard(t, cloud, token, "identity", chainguardUIDP+"/0123456789abcdef"), 404, `"details":[]`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { tt.got.has(t, tt.status, tt.part) })
	}
}

func TestAChainguardTokenPullsByItsAudienceAndRoles(t *testing.T) {
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	f := federatedChainguard(t, cloud, i)
	push(t, cloud, f.ref)
	push(t, cloud, "skills.cgr.dev/team/app:v1")
	good := chainguardPassword(f.exchange(t, i.token(t, f.audience)))
	console := chainguardPassword(exchangeChainguard(t, cloud, i.token(t, f.audience), "aud", "https://console-api.enforce.dev"))

	if got := status(t, pull(t, cloud, "skills.cgr.dev/team/app:v1", login("_token", good))); got != http.StatusOK {
		t.Errorf("from a subdomain it pulls with status %d", got)
	}
	if got := status(t, pull(t, cloud, f.ref, login("_token", console))); got != http.StatusUnauthorized {
		t.Errorf("a token for another audience pulls with status %d", got)
	}
	cloud.AddChainguardIdentity(fakecloud.ChainguardIdentity{UID: chainguardUIDP, Issuer: i.URL, Subject: subject, Roles: []string{"registry.pull_token_creator"}})
	if got := status(t, pull(t, cloud, f.ref, login("_token", good))); got != http.StatusUnauthorized {
		t.Errorf("when the role is gone it pulls with status %d", got)
	}
}

func TestAChainguardTokenSaysWhenItExpires(t *testing.T) {
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	f := federatedChainguard(t, cloud, i)
	expiry, err := time.Parse(time.RFC3339, f.exchange(t, i.token(t, f.audience)).field("expiry"))
	if left := expiry.Sub(clock.Now()); err != nil || left > time.Hour || left < 59*time.Minute {
		t.Errorf("it expires in %s, want an hour (%v)", left, err)
	}
}
