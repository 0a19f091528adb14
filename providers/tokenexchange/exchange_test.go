package tokenexchange

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// The exchanges that the documentation describes.
func TestPresets(t *testing.T) {
	jfrogToken := jwt(map[string]any{"sub": "jfac@01hqexample/users/k8s-puller", "exp": testNow.Add(time.Hour).Unix()})
	dockerToken := jwt(map[string]any{"sub": "x", "exp": testNow.Add(50 * time.Minute).Unix()})
	for name, test := range map[string]struct {
		config  Config
		reply   reply
		host    string
		path    string
		body    map[string]string
		login   dockerconfig.Login
		expires time.Duration
	}{
		"JFrog": {
			config: Config{
				Endpoint: "https://corp.example.com/access/api/v1/oidc/token", Registries: []string{"corp.example.com", "docker.corp.example.com"},
				ServiceAccount: testAccount, TokenAudience: "jfrog", Format: JSON, SubjectTokenType: "urn:ietf:params:oauth:token-type:id_token",
				Parameters: map[string]string{"provider_name": "k8s-prod", "identity_mapping_name": "pullers"},
			},
			reply: answerOf(200, `{"access_token":"`+jfrogToken+`","expires_in":3600,"token_type":"Bearer","issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}`),
			host:  "corp.example.com", path: "/access/api/v1/oidc/token",
			body: map[string]string{
				"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": accountToken,
				"subject_token_type": "urn:ietf:params:oauth:token-type:id_token", "provider_name": "k8s-prod", "identity_mapping_name": "pullers",
			},
			login: dockerconfig.Login{Username: "k8s-puller", Password: jfrogToken}, expires: time.Hour,
		},
		"Docker Hub": {
			config: Config{
				Endpoint: "https://identity.example.com/oauth/token", Registries: []string{"https://index.docker.io/v1/"},
				ServiceAccount: testAccount, TokenAudience: "https://identity.docker.com", SubjectTokenType: "urn:ietf:params:oauth:token-type:id_token",
				Parameters: map[string]string{"connection_id": "11111111-2222-3333-4444-555555555555", "expires_in": "3600"}, Username: "corp",
			},
			// The answer isn't documented to say how long the token lives.
			reply: answerOf(200, `{"access_token":"`+dockerToken+`"}`),
			host:  "identity.example.com", path: "/oauth/token",
			body: map[string]string{
				"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": accountToken,
				"subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
				"connection_id":      "11111111-2222-3333-4444-555555555555", "expires_in": "3600",
			},
			login: dockerconfig.Login{Username: "corp", Password: dockerToken}, expires: 50 * time.Minute,
		},
		"any other server": {
			config: Config{
				Endpoint: "https://sso.example.com/realms/corp/protocol/openid-connect/token?x=1", Registries: []string{"registry.example.com:5000"},
				ServiceAccount: testAccount, TokenAudience: "https://sso.example.com/realms/corp",
				RequestedTokenType: "urn:ietf:params:oauth:token-type:access_token", Audience: "registry", Resource: "https://registry.example.com/",
				Scopes: []string{"repository:b:pull", "repository:a:pull"}, Parameters: map[string]string{"subject_issuer": "kubernetes"},
				Fields: Fields{Username: "login.name", Token: "login.token", ExpiresAt: "login.until"},
			},
			reply: answerOf(200, `{"login":{"name":"puller","token":"`+plantedToken+`","until":"2030-01-02T04:34:05.5+01:00"}}`),
			host:  "sso.example.com", path: "/realms/corp/protocol/openid-connect/token?x=1",
			body: map[string]string{
				"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": accountToken, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
				"requested_token_type": "urn:ietf:params:oauth:token-type:access_token", "audience": "registry", "resource": "https://registry.example.com/",
				"scope": "repository:b:pull repository:a:pull", "subject_issuer": "kubernetes",
			},
			login: dockerconfig.Login{Username: "puller", Password: plantedToken}, expires: 30*time.Minute + 500*time.Millisecond,
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t, test.reply)
			credential, err := fetch(t, newProvider(t, test.config, server))
			if err != nil {
				t.Fatal(err)
			}
			if credential.Login != test.login {
				t.Errorf("got login %s with another password or user", credential.Login)
			}
			if got := credential.ExpiresAt.Sub(testNow); got != test.expires {
				t.Errorf("good for %s, want %s", got, test.expires)
			}
			request := server.only(t)
			if request.method != "POST" || request.host != test.host || request.path != test.path ||
				request.accept != "application/json" || request.authorization != "" || request.userAgent != exchange.UserAgent {
				t.Errorf("got %+v", request)
			}
			if diff := cmp.Diff(test.body, membersOf(t, request)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// membersOf reads a request's body as its type says.
func membersOf(t *testing.T, request received) map[string]string {
	t.Helper()
	members := map[string]string{}
	switch request.contentType {
	case "application/json":
		if err := json.Unmarshal([]byte(request.body), &members); err != nil {
			t.Fatal(err)
		}
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(request.body)
		if err != nil {
			t.Fatal(err)
		}
		for name, values := range form {
			if len(values) != 1 {
				t.Errorf("%s is sent %d times", name, len(values))
			}
			members[name] = values[0]
		}
	default:
		t.Fatalf("content type %q", request.contentType)
	}
	return members
}

func good() reply { return answerOf(200, `{"access_token":"`+plantedToken+`","expires_in":3600}`) }

func TestTheClientAuthenticates(t *testing.T) {
	for name, test := range map[string]struct {
		method        ClientAuthentication
		format        Format
		authorization string
		id, secret    string
	}{
		"not at all": {None, Form, "", "", ""},
		// Both parts are form-encoded before base64: RFC 6749, section 2.3.1.
		"in the header, with a form":   {Basic, Form, "Basic b3BlcmF0b3IlNDBjb3JwJTJGYStiOnBsYW50ZWQrc2VjcmV0JTJCJTJGJTI2JTNE", "", ""},
		"in the header, with JSON":     {Basic, JSON, "Basic b3BlcmF0b3IlNDBjb3JwJTJGYStiOnBsYW50ZWQrc2VjcmV0JTJCJTJGJTI2JTNE", "", ""},
		"in the body, which is a form": {Post, Form, "", "operator@corp/a b", plantedSecret},
		"in the body, which is JSON":   {Post, JSON, "", "operator@corp/a b", plantedSecret},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			if test.method != None {
				config = withClient(config, test.method)
			}
			config.Format = test.format
			server := newServer(t, good())
			if _, err := fetch(t, newProvider(t, config, server)); err != nil {
				t.Fatal(err)
			}
			request := server.only(t)
			if request.authorization != test.authorization {
				t.Errorf("got authorization %q", request.authorization)
			}
			members := membersOf(t, request)
			if members["client_id"] != test.id || members["client_secret"] != test.secret {
				t.Errorf("got members %q", members)
			}
		})
	}
}

func TestEachFetchMintsATokenOfItsOwn(t *testing.T) {
	server := newServer(t, good())
	provider := newProvider(t, testConfig(), server)
	var noted []minted
	for range 2 {
		if _, err := provider.Fetch(t.Context(), environment(&noted)); err != nil {
			t.Fatal(err)
		}
	}
	want := minted{testAccount, "https://sso.example.com"}
	if len(noted) != 2 || noted[0] != want || noted[1] != want {
		t.Errorf("minted %v", noted)
	}
}

func TestTheLifetimeCountsFromTheRequest(t *testing.T) {
	server := newServer(t, good())
	provider := newProvider(t, testConfig(), server)
	clock := testNow
	provider.now = func() time.Time {
		defer func() { clock = clock.Add(time.Minute) }()
		return clock
	}
	credential, err := fetch(t, provider)
	if err != nil {
		t.Fatal(err)
	}
	if got := credential.ExpiresAt.Sub(testNow); got != time.Hour {
		t.Errorf("good for %s, want 1h", got)
	}
}

func TestWithoutATokenNothingIsSent(t *testing.T) {
	server := newServer(t, good())
	missing := providers.Errorf(providers.Invalid, "there is no such ServiceAccount")
	_, err := newProvider(t, testConfig(), server).Fetch(t.Context(), providers.Env{
		Token: func(context.Context, providers.ServiceAccount, string) (string, error) { return "", missing },
	})
	if !errors.Is(err, missing) {
		t.Errorf("got %v", err)
	}
	if len(server.requests) != 0 {
		t.Errorf("%d requests", len(server.requests))
	}
}

func TestATokenThatIsNoJWTIsSentAllTheSame(t *testing.T) {
	server := newServer(t, good())
	_, err := newProvider(t, testConfig(), server).Fetch(t.Context(), providers.Env{
		Token: func(context.Context, providers.ServiceAccount, string) (string, error) { return "opaque", nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := membersOf(t, server.only(t))["subject_token"]; got != "opaque" {
		t.Errorf("sent %q", got)
	}
}

func TestATokenThatIsNoJWTIsHiddenAndSaysNothingOfClocks(t *testing.T) {
	server := newServer(t, answerOf(400, `{"error":"invalid_grant","error_description":"not valid: opaque"}`).with("Date", testNow.Format(http.TimeFormat)))
	_, err := newProvider(t, testConfig(), server).Fetch(t.Context(), providers.Env{
		Token: func(context.Context, providers.ServiceAccount, string) (string, error) { return "opaque", nil },
	})
	checkMessage(t, err, providers.Denied, "not valid: ***; "+trust)
	if !strings.HasSuffix(err.Error(), trust) {
		t.Errorf("%q speaks of clocks", err)
	}
}

// TestTheCABundleIsTrusted uses the product's own client against a server
// whose CA the system does not know.
func TestTheCABundleIsTrusted(t *testing.T) {
	server := newServer(t, good())
	config := testConfig()
	config.Endpoint = server.URL + "/token"
	_, err := fetch(t, mustNew(t, config))
	checkMessage(t, err, providers.Transient, "the certificate is not trusted", "belongs into caBundle")

	config.CABundle = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	credential, err := fetch(t, mustNew(t, config))
	if err != nil {
		t.Fatal(err)
	}
	if credential.Login.Password != plantedToken {
		t.Error("got another password")
	}
}

func TestProvidersWithOneBundleShareAClient(t *testing.T) {
	server := newServer(t, good())
	config := testConfig()
	config.CABundle = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	one := mustNew(t, config)
	config.Username = "another"
	config.CABundle += "\n"
	if other := mustNew(t, config); other.client != one.client || one.client == exchange.Shared() {
		t.Error("each has its own, or there is but one for all")
	}
}

func TestProvidersShareOneClientUnlessGivenAnother(t *testing.T) {
	one, other := mustNew(t, testConfig()), mustNew(t, withClient(testConfig(), Basic))
	if one.client != exchange.Shared() || other.client != exchange.Shared() {
		t.Error("not the process's one client")
	}
	if one.Name() != "tokenExchange" {
		t.Errorf("name %q", one.Name())
	}
}
