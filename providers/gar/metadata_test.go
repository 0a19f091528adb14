package gar

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/providers"
)

const (
	plantedOwn = "ya29.own-planted"
	atMetadata = "asking for the operator's own token at the metadata server: "
	ownToken   = "/computeMetadata/v1/instance/service-accounts/default/token"
	universe   = "/computeMetadata/v1/universe/universe-domain"
)

// own is a configuration that uses the operator's own identity.
func own() Config { return Config{Registries: []string{"gcr.io"}, Ambient: true} }

// noTokens is for exchanges that need none.
var noTokens = providers.Env{Token: func(context.Context, providers.ServiceAccount, string) (string, error) {
	return "", errors.New("nobody may ask for a ServiceAccount's token")
}}

// serveMetadata lets the environment name a metadata server that answers by
// path, and with 404 and a page otherwise, as the real one does.
func serveMetadata(t *testing.T, replies map[string]reply) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, found := replies[r.URL.Path]
		switch {
		case r.Header.Get("Metadata-Flavor") != "Google":
			answer = reply{status: 403, body: "Missing Metadata-Flavor:Google header."}
		case r.URL.Path == ownToken && r.URL.Query().Get("scopes") != "https://www.googleapis.com/auth/cloud-platform":
			answer = reply{status: 400, body: "wrong scopes " + r.URL.RawQuery}
		case !found:
			w.Header().Set("Content-Type", "text/html; charset=UTF-8")
			answer = reply{status: 404, body: "<!DOCTYPE html><html>Not Found</html>"}
		}
		w.Header().Set("Metadata-Flavor", "Google")
		w.WriteHeader(answer.status)
		_, _ = w.Write([]byte(answer.body))
	}))
	t.Cleanup(server.Close)
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(server.URL, "http://"))
}

func ownTokenReply() reply {
	return reply{status: 200, body: fmt.Sprintf(`{"access_token":%q,"expires_in":1799,"token_type":"Bearer"}`, plantedOwn)}
}

func TestTheOperatorsOwnIdentity(t *testing.T) {
	impersonating := own()
	impersonating.GoogleServiceAccount = testEmail
	sovereign := own()
	sovereign.UniverseDomain, sovereign.Registries = "s3nsapis.fr", []string{"docker.s3nsregistry.fr"}
	for name, test := range map[string]struct {
		config   Config
		metadata map[string]reply
		password string
		life     time.Duration
		bearer   string
	}{
		"opens the registry itself": {
			own(), map[string]reply{universe: {status: 200, body: "googleapis.com\n"}, ownToken: ownTokenReply()},
			plantedOwn, 1799 * time.Second, "",
		},
		"is Google's where the server knows no universes": {
			own(), map[string]reply{ownToken: ownTokenReply()}, plantedOwn, 1799 * time.Second, "",
		},
		"is Google's where the server says nothing": {
			own(), map[string]reply{universe: {status: 200}, ownToken: ownTokenReply()}, plantedOwn, 1799 * time.Second, "",
		},
		"works in a sovereign cloud": {
			sovereign, map[string]reply{universe: {status: 200, body: "s3nsapis.fr"}, ownToken: ownTokenReply()},
			plantedOwn, 1799 * time.Second, "",
		},
		"impersonates": {
			impersonating, map[string]reply{ownToken: ownTokenReply()}, plantedGoogle, time.Hour, "Bearer " + plantedOwn,
		},
	} {
		t.Run(name, func(t *testing.T) {
			serveMetadata(t, test.metadata)
			fake := newFakeGoogle(t)
			got, err := newProvider(t, fake, test.config).Fetch(t.Context(), noTokens)
			if err != nil {
				t.Fatal(err)
			}
			if got.Login.Username != "oauth2accesstoken" || got.Login.Password != test.password || !got.ExpiresAt.Equal(testNow.Add(test.life)) {
				t.Errorf("got %s:%s until %s", got.Login.Username, got.Login.Password, got.ExpiresAt)
			}
			bearer := ""
			for _, request := range fake.sent() {
				bearer += request.authorization
			}
			if bearer != test.bearer {
				t.Errorf("sent as %q, want %q", bearer, test.bearer)
			}
		})
	}
}

func TestTheMetadataServerIsOfNoHelp(t *testing.T) {
	impersonating := own()
	impersonating.GoogleServiceAccount = testEmail
	sovereign := own()
	sovereign.UniverseDomain, sovereign.Registries = "s3nsapis.fr", []string{"docker.s3nsregistry.fr"}
	for name, test := range map[string]struct {
		config   Config
		metadata map[string]reply
		class    providers.Class
		want     string
	}{
		"no identity": {
			own(), nil, providers.Denied,
			atMetadata + "the operator has no Google identity: bind its ServiceAccount to one (workload identity federation for GKE), or give the machine a service account",
		},
		"an identity of another universe": {
			sovereign, map[string]reply{ownToken: ownTokenReply()}, providers.Invalid,
			atMetadata + `the operator's own identity is of universe "googleapis.com", not of universeDomain "s3nsapis.fr"`,
		},
		"a missing role in GKE": {
			own(), map[string]reply{ownToken: {status: 403, body: "Unable to generate access token; IAM returned 403 Forbidden\n"}}, providers.Denied,
			atMetadata + "403 Forbidden: Unable to generate access token; IAM returned 403 Forbidden",
		},
		"a page for browsers": {
			own(), map[string]reply{ownToken: {status: 403, body: " <!DOCTYPE html>"}}, providers.Denied, atMetadata + "403 Forbidden",
		},
		"a refusal to tell the universe": {
			own(), map[string]reply{universe: {status: 403, body: "no"}}, providers.Denied, atMetadata + "403 Forbidden: no",
		},
		"a token that is none": {
			own(), map[string]reply{ownToken: {status: 200, body: `{"access_token":"ya29.own-planted"}`}}, providers.Transient,
			atMetadata + "the answer does not say when its token expires",
		},
		"a missing role for the impersonation": {
			impersonating, map[string]reply{ownToken: ownTokenReply()}, providers.Denied,
			atIAM + "PERMISSION_DENIED: No.; grant roles/iam.serviceAccountTokenCreator on " + testEmail + " to the operator's own Google identity",
		},
	} {
		t.Run(name, func(t *testing.T) {
			serveMetadata(t, test.metadata)
			fake := newFakeGoogle(t)
			fake.replies[iamHost] = []reply{rpcError(403, "PERMISSION_DENIED", "", "No.")}
			_, err := newProvider(t, fake, test.config).Fetch(t.Context(), noTokens)
			failure := failed(t, err)
			if failure.Class != test.class || failure.Message != test.want || strings.Contains(failure.Message, plantedOwn) {
				t.Errorf("got  %s: %s\nwant %s: %s", failure.Class, failure.Message, test.class, test.want)
			}
		})
	}
}

func TestAMetadataServerThatIsDownIsTheEndpoint(t *testing.T) {
	for name, test := range map[string]struct {
		metadata map[string]reply
		down     bool
	}{
		"it fails":                 {map[string]reply{ownToken: {status: 500, body: "oops"}}, true},
		"its answer can't be read": {map[string]reply{ownToken: {status: 200, body: "planted"}}, true},
		"it refuses":               {map[string]reply{ownToken: {status: 403, body: "no"}}, false},
		"it has no identity":       {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			serveMetadata(t, test.metadata)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			provider := newProvider(t, newFakeGoogle(t), own())
			_, err := provider.Fetch(ctx, noTokens)
			if got := failed(t, err); got.Host != provider.Endpoints()[0] || got.Down != test.down {
				t.Errorf("%q is said to be down, %t: %v", got.Host, got.Down, err)
			}
		})
	}
}

func TestThereIsNoMetadataServer(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(server.URL, "http://"))
	server.Close()
	_, err := newProvider(t, newFakeGoogle(t), own()).Fetch(t.Context(), noTokens)
	want := atMetadata + "could not be reached: connection refused; check HTTPS_PROXY and network policies; " +
		"the operator has an identity of its own only in Google Cloud, where it must reach 169.254.169.254"
	if failure := failed(t, err); failure.Class != providers.Transient || failure.Message != want || providers.DownHost(failure) != "169.254.169.254:80" {
		t.Errorf("got  %s: %s, %q down\nwant %s", failure.Class, failure.Message, providers.DownHost(failure), want)
	}
}
