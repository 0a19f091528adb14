package fakecloud_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

const (
	dockerHubURL        = "https://identity.docker.com/oauth/token"
	dockerHubConnection = "123e4567-e89b-42d3-a456-426614174000"
)

func dockerHubForm(token string) url.Values {
	return url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {token},
		"subject_token_type": {idTokenType},
		"connection_id":      {dockerHubConnection},
		"expires_in":         {"600"},
	}
}

func federatedDockerHub(_ *testing.T, cloud *fakecloud.Cloud, i *issuer) federated {
	cloud.AddDockerHubConnection(fakecloud.DockerHubConnection{ID: dockerHubConnection, Organisation: "example", Issuer: i.URL, Subject: subject})
	cloud.AddStaticLogin("registry.example.com", "robot", "s3cret")
	invalid := refusal{http.StatusUnauthorized, `{"message":"invalid subject token: `}
	unmatched := refusal{http.StatusForbidden, `{"message":"no rule of the connection matches`}
	return federated{
		service: fakecloud.DockerHub, audience: "https://identity.docker.com",
		exchange: func(t *testing.T, token string) answer { return sendForm(t, cloud, dockerHubURL, dockerHubForm(token)) },
		userName: "example", password: func(a answer) string { return a.field("access_token") }, lifetime: 10 * time.Minute,
		ref: "index.docker.io/example/app:v1", foreign: "registry.example.com/example/app:v1",
		problems: map[string]refusal{
			"no token at all":       invalid,
			"algorithm none":        invalid,
			"algorithm HS256":       invalid,
			"an unknown key":        invalid,
			"a forged signature":    invalid,
			"expired":               invalid,
			"not valid yet":         invalid,
			"an unknown issuer":     invalid,
			"an unreachable issuer": {http.StatusServiceUnavailable, `{"message":`},
			"another subject":       unmatched,
			"another audience":      unmatched,
		},
		faults: map[fakecloud.FaultKind]refusal{
			fakecloud.Throttle:    {http.StatusTooManyRequests, `{"message":`},
			fakecloud.ServerError: {http.StatusInternalServerError, `{"message":`},
			fakecloud.Denied:      {http.StatusForbidden, `{"message":`},
		},
	}
}

func TestDockerHubWantsAConnectionAndALifetime(t *testing.T) {
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	f := federatedDockerHub(t, cloud, i)
	form := dockerHubForm(i.token(t, f.audience))
	exchange := func(changes ...string) answer { return sendForm(t, cloud, dockerHubURL, form, changes...) }

	tests := map[string]struct {
		got  answer
		want int
		part string
	}{
		"the lifetime that is asked for":    {exchange(), 200, `"expires_in":600`},
		"five minutes if none is":           {exchange("expires_in", ""), 200, `"expires_in":300`},
		"an hour is the longest":            {exchange("expires_in", "3600"), 200, `"expires_in":3600`},
		"more is refused":                   {exchange("expires_in", "3601"), 400, "expires_in must be between 300 and 3600"},
		"less than five minutes is refused": {exchange("expires_in", "299"), 400, "expires_in must be between 300 and 3600"},
		"a lifetime is a number":            {exchange("expires_in", "5m"), 400, "expires_in must be between 300 and 3600"},
		"an unknown connection is refused":  {exchange("connection_id", azureClient), 403, "no rule of the connection"},
		"an ID token is wanted":             {exchange("subject_token_type", jwtType), 400, "subject_token_type must be"},
		"GET is not found":                  {send(t, cloud, http.MethodGet, dockerHubURL, http.NoBody, nil), 404, `{"message":`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { tt.got.has(t, tt.want, tt.part) })
	}
}

func TestAllNamesOfDockersRegistryLeadToTheSameImages(t *testing.T) {
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	f := federatedDockerHub(t, cloud, i)
	push(t, cloud, "registry-1.docker.io/example/app:v1")
	password := f.password(f.exchange(t, i.token(t, f.audience)))
	for _, host := range []string{"docker.io", "index.docker.io", "registry-1.docker.io"} {
		got := send(t, cloud, http.MethodGet, "https://"+host+"/v2/example/app/tags/list", http.NoBody, basic("example", password))
		got.has(t, http.StatusOK, `"tags":["v1"]`)
	}
	push(t, cloud, "docker.io/other/app:v1")
	if got := status(t, pull(t, cloud, "docker.io/other/app:v1", login("example", password))); got != http.StatusUnauthorized {
		t.Errorf("an image of another organisation is pulled with status %d", got)
	}
}
