package fakecloud_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

const tokenServer = "https://sts.example.com/oauth/token"

// exchangeForm is a request to a server of RFC 8693.
func exchangeForm(token string) url.Values {
	return url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {token},
		"subject_token_type": {jwtType},
	}
}

// addServer adds a server that trusts the test's issuer and asks for nothing more
// than the standard.
func addServer(cloud *fakecloud.Cloud, i *issuer, change func(*fakecloud.TokenServer)) {
	server := fakecloud.TokenServer{
		Host: "sts.example.com", Path: "/oauth/token", Issuer: i.URL, Audience: "https://sts.example.com", Subject: subject,
		Registries: []string{"registry.example.com", "mirror.example.com:5000"}, Username: "puller",
	}
	change(&server)
	cloud.AddTokenServer(server)
}

func plain(*fakecloud.TokenServer) {}

func federatedServer(_ *testing.T, cloud *fakecloud.Cloud, i *issuer) federated {
	addServer(cloud, i, plain)
	addServer(cloud, i, func(s *fakecloud.TokenServer) { s.Path, s.Registries = "/other", []string{"other.example.com"} })
	invalid := func(why string) refusal {
		return refusal{http.StatusBadRequest, `{"error":"invalid_request","error_description":"the subject_token is invalid: the ` + why + `"}`}
	}
	return federated{
		service: fakecloud.TokenExchange, audience: "https://sts.example.com",
		exchange: func(t *testing.T, token string) answer { return sendForm(t, cloud, tokenServer, exchangeForm(token)) },
		userName: "puller", password: func(a answer) string { return a.field("access_token") }, lifetime: time.Hour,
		ref: "registry.example.com/team/app:v1", foreign: "other.example.com/team/app:v1",
		problems: map[string]refusal{
			"no token at all":       invalid("token is malformed"),
			"algorithm none":        invalid("token is signed by an algorithm that is not allowed"),
			"algorithm HS256":       invalid("token is signed by an algorithm that is not allowed"),
			"an unknown key":        invalid("key of the token is unknown"),
			"a forged signature":    invalid("signature of the token is wrong"),
			"expired":               invalid("token has expired"),
			"not valid yet":         invalid("token is not valid yet"),
			"an unknown issuer":     invalid("issuer of the token is unknown"),
			"an unreachable issuer": {http.StatusServiceUnavailable, `{"error":"temporarily_unavailable"`},
			"another subject":       {http.StatusBadRequest, "the subject_token is not acceptable"},
			"another audience":      {http.StatusBadRequest, "the subject_token is not acceptable"},
		},
		faults: map[fakecloud.FaultKind]refusal{
			fakecloud.Throttle:    {http.StatusTooManyRequests, `{"error":"slow_down"`},
			fakecloud.ServerError: {http.StatusInternalServerError, `{"error":"server_error"`},
			fakecloud.Denied:      {http.StatusForbidden, `{"error":"access_denied"`},
		},
	}
}

func TestATokenServerWantsWhatItIsToldToWant(t *testing.T) {
	wants := map[string]func(*fakecloud.TokenServer){
		"the standard": plain,
		"an audience":  func(s *fakecloud.TokenServer) { s.RequestAudience = "registry" },
		"two scopes":   func(s *fakecloud.TokenServer) { s.Scopes = []string{"pull", "list"} },
		"a parameter":  func(s *fakecloud.TokenServer) { s.Parameters = map[string]string{"connection": "c1"} },
		"an ID token":  func(s *fakecloud.TokenServer) { s.SubjectTokenType = idTokenType },
		"a client": func(s *fakecloud.TokenServer) {
			s.ClientID, s.ClientSecret, s.ClientAuthentication = "id", "s3cret", fakecloud.PostClient
		},
	}
	tests := map[string]struct {
		wants   string
		changes []string
		status  int
		part    string
	}{
		"what is asked for":            {"the standard", nil, 200, `"issued_token_type":"urn:ietf:params:oauth:token-type:access_token"`},
		"no grant type":                {"the standard", []string{"grant_type", ""}, 400, "invalid_request"},
		"another grant type":           {"the standard", []string{"grant_type", "password"}, 400, "unsupported_grant_type"},
		"no token":                     {"the standard", []string{"subject_token", ""}, 400, "subject_token is missing"},
		"another type of token":        {"the standard", []string{"subject_token_type", idTokenType}, 400, "subject_token_type must be "},
		"a scope that is not given":    {"the standard", []string{"scope", "push"}, 400, "invalid_scope"},
		"the audience":                 {"an audience", []string{"audience", "registry"}, 200, ""},
		"no audience":                  {"an audience", nil, 400, "invalid_target"},
		"another audience":             {"an audience", []string{"audience", "other"}, 400, "invalid_target"},
		"the scopes in another order":  {"two scopes", []string{"scope", "list pull"}, 200, ""},
		"one scope of two":             {"two scopes", []string{"scope", "list"}, 400, "invalid_scope"},
		"the parameter":                {"a parameter", []string{"connection", "c1"}, 200, ""},
		"no parameter":                 {"a parameter", nil, 400, "connection is missing or wrong"},
		"the right type of token":      {"an ID token", []string{"subject_token_type", idTokenType}, 200, ""},
		"the wrong type of token":      {"an ID token", nil, 400, "subject_token_type must be " + idTokenType},
		"the client":                   {"a client", []string{"client_id", "id", "client_secret", "s3cret"}, 200, ""},
		"the client, another secret":   {"a client", []string{"client_id", "id", "client_secret", "other"}, 401, "invalid_client"},
		"no client":                    {"a client", nil, 401, "invalid_client"},
		"another client of the secret": {"a client", []string{"client_id", "other", "client_secret", "s3cret"}, 401, "invalid_client"},
	}
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			addServer(cloud, i, wants[tt.wants])
			form := exchangeForm(i.token(t, "https://sts.example.com"))
			sendForm(t, cloud, tokenServer, form, tt.changes...).has(t, tt.status, tt.part)
			addServer(cloud, i, func(s *fakecloud.TokenServer) {
				wants[tt.wants](s)
				s.Format = fakecloud.JSONRequest
			})
			sendObject(t, cloud, tokenServer, form, tt.changes...).has(t, tt.status, tt.part)
		})
	}
}

func TestATokenServerTakesItsClientByBasicAuthentication(t *testing.T) {
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	addServer(cloud, i, func(s *fakecloud.TokenServer) { s.ClientID, s.ClientSecret = "the client", "a:b%c" })
	form := exchangeForm(i.token(t, "https://sts.example.com")).Encode()
	tests := map[string]struct {
		user, password string
		want           int
	}{
		"encoded, as the standard wants it": {"the+client", "a%3Ab%25c", 200},
		"not encoded":                       {"the client", "a:b%c", 401},
		"another secret":                    {"the+client", "other", 401},
		"nobody":                            {"", "", 401},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			header := basic(tt.user, tt.password)
			header.Set("Content-Type", "application/x-www-form-urlencoded")
			got := send(t, cloud, http.MethodPost, tokenServer, strings.NewReader(form), header)
			got.has(t, tt.want, "")
			if challenged := got.header.Get("WWW-Authenticate") != ""; challenged != (tt.want == http.StatusUnauthorized) {
				t.Errorf("challenged is %t", challenged)
			}
		})
	}
}

func TestATokenServerTakesOnlyItsFormatByPost(t *testing.T) {
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	addServer(cloud, i, plain)
	addServer(cloud, i, func(s *fakecloud.TokenServer) { s.Path, s.Format = "/json", fakecloud.JSONRequest })
	form := exchangeForm(i.token(t, "https://sts.example.com"))
	tests := map[string]struct {
		got  answer
		want int
		part string
	}{
		"JSON for a form":             {sendObject(t, cloud, tokenServer, form), 400, "invalid_request"},
		"a form for JSON":             {sendForm(t, cloud, "https://sts.example.com/json", form), 400, "invalid_request"},
		"JSON that is not called so":  {send(t, cloud, http.MethodPost, "https://sts.example.com/json", strings.NewReader(`{"grant_type":"password"}`), http.Header{"Content-Type": {"text/plain"}}), 400, "cannot be read"},
		"parameters in the query":     {send(t, cloud, http.MethodPost, tokenServer+"?"+form.Encode(), http.NoBody, nil), 400, "invalid_request"},
		"GET":                         {send(t, cloud, http.MethodGet, tokenServer+"?"+form.Encode(), http.NoBody, nil), 405, "invalid_request"},
		"a path that is not there":    {sendForm(t, cloud, "https://sts.example.com/", form), 404, ""},
		"the other path, in its form": {sendObject(t, cloud, "https://sts.example.com/json", form), 200, "access_token"},
		"the first path, in its form": {sendForm(t, cloud, tokenServer, form), 200, "access_token"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { tt.got.has(t, tt.want, tt.part) })
	}
	if got := cloud.UnknownHosts(); len(got) != 0 {
		t.Errorf("unknown hosts: %v", got)
	}
}

func TestATokenServerAnswersInTheFieldsThatItIsTold(t *testing.T) {
	type server = fakecloud.TokenServer
	tests := map[string]struct {
		change func(*server)
		token  []string
		parts  []string
	}{
		"the standard":            {plain, []string{"access_token"}, []string{`"expires_in":3600`, `"token_type":"Bearer"`}},
		"another lifetime":        {func(s *server) { s.Lifetime = 15 * time.Minute }, []string{"access_token"}, []string{`"expires_in":900`}},
		"nested fields":           {func(s *server) { s.TokenField, s.ExpiryField = "data.token", "data.lease.ttl" }, []string{"data", "token"}, []string{`"lease":{"ttl":3600}`}},
		"a time":                  {func(s *server) { s.Expiry = fakecloud.ExpiresAt }, []string{"access_token"}, []string{`"expires_at":"2`, `Z"`}},
		"a time in another field": {func(s *server) { s.Expiry, s.ExpiryField = fakecloud.ExpiresAt, "until" }, []string{"access_token"}, []string{`"until":"2`}},
		"the token alone":         {func(s *server) { s.Expiry = fakecloud.ExpiryInToken }, []string{"access_token"}, []string{`"access_token":"ey`}},
		"the user name, too":      {func(s *server) { s.UsernameField = "data.user" }, []string{"access_token"}, []string{`"data":{"user":"puller"}`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cloud, clock := start(t)
			i := newIssuer(t, cloud, clock)
			addServer(cloud, i, tt.change)
			push(t, cloud, "mirror.example.com:5000/app:v1")
			got := sendForm(t, cloud, tokenServer, exchangeForm(i.token(t, "https://sts.example.com")))
			for _, part := range tt.parts {
				got.has(t, http.StatusOK, part)
			}
			if got := status(t, pull(t, cloud, "mirror.example.com:5000/app:v1", login("puller", got.field(tt.token...)))); got != http.StatusOK {
				t.Errorf("the token pulls with status %d", got)
			}
		})
	}
}

func TestHostsBelongToOneServiceOnly(t *testing.T) {
	cloud, _ := start(t)
	cloud.AddStaticLogin("static.example.com", "robot", "s3cret")
	cloud.AddTokenServer(fakecloud.TokenServer{Host: "harbor.example.com", Registries: []string{"harbor.example.com", "second.example.com"}})
	cloud.AddTokenServer(fakecloud.TokenServer{Host: "second.example.com"}) // a registry's own token server
	tests := map[string]func(){
		"a token server at the host of Chainguard": func() { cloud.AddTokenServer(fakecloud.TokenServer{Host: "issuer.enforce.dev"}) },
		"a token server for Chainguard's registry": func() {
			cloud.AddTokenServer(fakecloud.TokenServer{Host: "a.example", Registries: []string{"cgr.dev"}})
		},
		"a platform at the host of a token server": func() { cloud.AddJFrogProvider(fakecloud.JFrogProvider{Host: "harbor.example.com"}) },
		"a Quay at a static registry":              func() { cloud.AddQuayRobot(fakecloud.QuayRobot{Host: "static.example.com", Name: "a+b"}) },
		"a Quay with a user for a robot":           func() { cloud.AddQuayRobot(fakecloud.QuayRobot{Name: "user"}) },
		"a platform for a static registry": func() {
			cloud.AddJFrogProvider(fakecloud.JFrogProvider{Host: "a.example", Registries: []string{"static.example.com"}})
		},
		"a static login at a token server":           func() { cloud.AddStaticLogin("harbor.example.com", "robot", "s3cret") },
		"a grant at a host that only looks like ACR": func() { cloud.GrantACR("example.azurecr.io.example", azureClient) },
		"an application of a cloud that is not there": func() {
			cloud.AddAzureApplication(fakecloud.AzureApplication{Authority: "login.example", TenantID: azureTenant, ClientID: azureClient})
		},
		"an application whose tenant is no UUID": func() {
			cloud.AddAzureApplication(fakecloud.AzureApplication{TenantID: "../" + azureTenant, ClientID: azureClient})
		},
		"an identity with dots":  func() { cloud.AddChainguardIdentity(fakecloud.ChainguardIdentity{UID: "../" + chainguardUIDP}) },
		"a connection by a name": func() { cloud.AddDockerHubConnection(fakecloud.DockerHubConnection{ID: "name"}) },
	}
	for name, add := range tests {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it was taken")
				}
			}()
			add()
		})
	}
}
