package fakecloud_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

const jfrogURL = "https://example.jfrog.io/access/api/v1/oidc/token"

func jfrogForm(token string) url.Values {
	return url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {token},
		"subject_token_type": {idTokenType},
		"provider_name":      {"cluster"},
	}
}

func jfrogProvider(i *issuer) fakecloud.JFrogProvider {
	return fakecloud.JFrogProvider{
		Host: "example.jfrog.io", Name: "cluster", Issuer: i.URL, Audience: "jfrog", Subject: subject,
		IdentityMapping: "pullers", Username: "puller", Registries: []string{"example.jfrog.io", "docker.example.jfrog.io"},
	}
}

func federatedJFrog(_ *testing.T, cloud *fakecloud.Cloud, i *issuer) federated {
	provider := jfrogProvider(i)
	cloud.AddJFrogProvider(provider)
	provider.Name, provider.Registries = "other", []string{"other.example.jfrog.io"}
	cloud.AddJFrogProvider(provider)
	invalid := refusal{http.StatusUnauthorized, `{"errors":[{"code":"UNAUTHORIZED","message":"Token validation failed: `}
	return federated{
		service: fakecloud.JFrog, audience: "jfrog",
		exchange: func(t *testing.T, token string) answer { return sendObject(t, cloud, jfrogURL, jfrogForm(token)) },
		userName: "puller", password: func(a answer) string { return a.field("access_token") }, lifetime: time.Hour,
		ref: "docker.example.jfrog.io/team/app:v1", foreign: "other.example.jfrog.io/team/app:v1",
		problems: map[string]refusal{
			"no token at all":       invalid,
			"algorithm none":        invalid,
			"algorithm HS256":       invalid,
			"an unknown key":        invalid,
			"a forged signature":    invalid,
			"expired":               invalid,
			"not valid yet":         invalid,
			"an unknown issuer":     invalid,
			"an unreachable issuer": {http.StatusInternalServerError, `{"errors":[{"code":"INTERNAL_SERVER_ERROR",`},
			"another subject":       {http.StatusForbidden, `{"errors":[{"code":"FORBIDDEN",`},
			"another audience":      {http.StatusBadRequest, `{"errors":[{"code":"BAD_REQUEST","message":"Invalid audience"}]}`},
		},
		faults: map[fakecloud.FaultKind]refusal{
			fakecloud.Throttle:    {http.StatusTooManyRequests, `{"errors":[{"code":"TOO_MANY_REQUESTS",`},
			fakecloud.ServerError: {http.StatusInternalServerError, `{"errors":[{"code":"INTERNAL_SERVER_ERROR",`},
			fakecloud.Denied:      {http.StatusForbidden, `{"errors":[{"code":"FORBIDDEN",`},
		},
	}
}

func TestJFrogWantsAProviderAndItsMapping(t *testing.T) {
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	second := newIssuer(t, cloud, clock)
	provider := jfrogProvider(i)
	cloud.AddJFrogProvider(provider)
	provider.Name, provider.ProjectKey = "of-project", "proj"
	cloud.AddJFrogProvider(provider)
	form := jfrogForm(i.token(t, "jfrog"))
	exchange := func(changes ...string) answer { return sendObject(t, cloud, jfrogURL, form, changes...) }

	tests := map[string]struct {
		got  answer
		want int
		part string
	}{
		"the name of a provider is enough":      {exchange(), 200, `"username":"puller"`},
		"its mapping may be named":              {exchange("identity_mapping_name", "pullers"), 200, `"expires_in":3600`},
		"but only that":                         {exchange("identity_mapping_name", "pushers"), 403, "FORBIDDEN"},
		"a project must be named":               {exchange("provider_name", "of-project"), 403, "FORBIDDEN"},
		"and be the right one":                  {exchange("provider_name", "of-project", "project_key", "proj"), 200, ""},
		"a provider without project wants none": {exchange("project_key", "proj"), 403, "FORBIDDEN"},
		"an unknown provider is not found":      {exchange("provider_name", "nobody"), 404, "'nobody' was not found"},
		"another issuer is refused":             {exchange("subject_token", second.token(t, "jfrog")), 400, "Invalid issuer"},
		"a token is wanted":                     {exchange("subject_token", ""), 400, "BAD_REQUEST"},
		"an ID token is wanted":                 {exchange("subject_token_type", jwtType), 400, "BAD_REQUEST"},
		"a form is not read":                    {sendForm(t, cloud, jfrogURL, form), 400, "BAD_REQUEST"},
		"the wrong verb is not found":           {send(t, cloud, http.MethodGet, jfrogURL, http.NoBody, nil), 404, "NOT_FOUND"},
		"other paths are the registry's":        {send(t, cloud, http.MethodGet, "https://example.jfrog.io/v2/", http.NoBody, nil), 401, "UNAUTHORIZED"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { tt.got.has(t, tt.want, tt.part) })
	}
}

func TestAnOlderJFrogNamesTheUserInTheTokenOnly(t *testing.T) {
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	provider := jfrogProvider(i)
	provider.OmitUsername, provider.Registries = true, nil
	cloud.AddJFrogProvider(provider)
	push(t, cloud, "example.jfrog.io/docker/app:v1")
	got := sendObject(t, cloud, jfrogURL, jfrogForm(i.token(t, "jfrog")))
	if user := got.field("username"); user != "" {
		t.Errorf("the answer names %q", user)
	}
	token := got.field("access_token")
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil || !strings.Contains(string(payload), `/users/puller"`) {
		t.Errorf("the subject does not end in the user name: %v", err)
	}
	if got := status(t, pull(t, cloud, "example.jfrog.io/docker/app:v1", login("puller", token))); got != http.StatusOK {
		t.Errorf("the login pulls from the platform with status %d", got)
	}
}
