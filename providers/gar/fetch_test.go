package gar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

func TestFetchReturnsTheLogin(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		want   providers.Credential
	}{
		"of the federated identity, for as long as the exchange says": {
			direct(),
			providers.Credential{Login: dockerconfig.Login{Username: "oauth2accesstoken", Password: plantedFederated}, ExpiresAt: testNow.Add(3599 * time.Second)},
		},
		"of the Google service account, until when IAM says": {
			impersonating(),
			providers.Credential{Login: dockerconfig.Login{Username: "oauth2accesstoken", Password: plantedGoogle}, ExpiresAt: testNow.Add(time.Hour)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := newProvider(t, newFakeGoogle(t), test.config).Fetch(t.Context(), env(testNow, nil))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheTokenExchangeIsAskedAsDocumented(t *testing.T) {
	for name, test := range map[string]struct {
		change            func(*Config)
		address           string
		audience, request string
	}{
		"for a provider": {
			func(*Config) {},
			"https://sts.googleapis.com/v1/token", "https://iam.googleapis.com/" + testProvider, "//iam.googleapis.com/" + testProvider,
		},
		"for an audience that the provider allows": {
			func(c *Config) { c.Audience = "registry-login" },
			"https://sts.googleapis.com/v1/token", "registry-login", "//iam.googleapis.com/" + testProvider,
		},
		"in another universe, where the audiences stay Google's": {
			func(c *Config) {
				c.UniverseDomain, c.Registries = "s3nsapis.fr", []string{"docker.s3nsregistry.fr"}
			},
			"https://sts.s3nsapis.fr/v1/token", "https://iam.googleapis.com/" + testProvider, "//iam.googleapis.com/" + testProvider,
		},
		"for a GKE cluster": {
			func(c *Config) { c.WorkloadIdentityProvider, c.GKECluster = "", testCluster },
			"https://sts.googleapis.com/v1/token", "my-project.svc.id.goog",
			"identitynamespace:my-project.svc.id.goog:https://container.googleapis.com/v1/" + testCluster,
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := direct()
			test.change(&config)
			fake := newFakeGoogle(t)
			fake.replies["sts.s3nsapis.fr"] = []reply{federated()}
			var tokens []minted
			if _, err := newProvider(t, fake, config).Fetch(t.Context(), env(testNow, &tokens)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]minted{{account(), test.audience}}, tokens, cmp.AllowUnexported(minted{})); diff != "" {
				t.Error(diff)
			}
			sent := fake.sent()
			if len(sent) != 1 || sent[0].method != http.MethodPost || sent[0].address != test.address {
				t.Fatalf("sent %+v", sent)
			}
			// Google says that it can make the request fail.
			if sent[0].authorization != "" {
				t.Error("sent an Authorization header")
			}
			if sent[0].userAgent != exchange.UserAgent {
				t.Errorf("sent as %q", sent[0].userAgent)
			}
			want := map[string][]string{
				"grant_type":           {"urn:ietf:params:oauth:grant-type:token-exchange"},
				"requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
				"subject_token_type":   {"urn:ietf:params:oauth:token-type:jwt"},
				"subject_token":        {mint(testNow)},
				"audience":             {test.request},
				"scope":                {"https://www.googleapis.com/auth/cloud-platform"},
			}
			if diff := cmp.Diff(want, map[string][]string(sent[0].form)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestImpersonationIsAskedAsDocumented(t *testing.T) {
	config := impersonating()
	config.Delegates = []string{"first@my-project.iam.gserviceaccount.com", "123-compute@developer.gserviceaccount.com"}
	config.UniverseDomain, config.Registries = "apis-example.goog", []string{"docker.pkg-example.goog"}
	fake := newFakeGoogle(t)
	fake.replies["sts.apis-example.goog"] = []reply{federated()}
	fake.replies["iamcredentials.apis-example.goog"] = []reply{impersonated(testNow.Add(time.Hour))}
	if _, err := newProvider(t, fake, config).Fetch(t.Context(), env(testNow, nil)); err != nil {
		t.Fatal(err)
	}
	sent := fake.sent()
	if len(sent) != 2 {
		t.Fatalf("sent %+v", sent)
	}
	got := sent[1]
	if want := "https://iamcredentials.apis-example.goog/v1/projects/-/serviceAccounts/" + testEmail + ":generateAccessToken"; got.address != want {
		t.Errorf("sent to %s, want %s", got.address, want)
	}
	if got.authorization != "Bearer "+plantedFederated {
		t.Errorf("sent as %q", got.authorization)
	}
	if got.userAgent != exchange.UserAgent {
		t.Errorf("sent as %q", got.userAgent)
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(got.body), &body); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"name": "projects/-/serviceAccounts/" + testEmail,
		"delegates": []any{
			"projects/-/serviceAccounts/first@my-project.iam.gserviceaccount.com",
			"projects/-/serviceAccounts/123-compute@developer.gserviceaccount.com",
		},
		"scope":    []any{"https://www.googleapis.com/auth/cloud-platform"},
		"lifetime": "3600s",
	}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Error(diff)
	}
}

func TestNoTokenOutlivesWhatWasAskedFor(t *testing.T) {
	for name, test := range map[string]struct {
		expires, want time.Time
	}{
		"a time by a clock ahead of ours is cut":    {testNow.Add(3 * time.Hour), testNow.Add(time.Hour)},
		"a time by a clock behind ours is believed": {testNow.Add(time.Minute), testNow.Add(time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFakeGoogle(t)
			fake.replies[iamHost] = []reply{impersonated(test.expires)}
			got, err := newProvider(t, fake, impersonating()).Fetch(t.Context(), env(testNow, nil))
			if err != nil {
				t.Fatal(err)
			}
			if !got.ExpiresAt.Equal(test.want) {
				t.Errorf("expires at %s, want %s", got.ExpiresAt, test.want)
			}
		})
	}
}

func TestAMachineThatIsBehindTakesTheLoginForOverInTime(t *testing.T) {
	const behind = 7 * time.Minute
	for name, test := range map[string]struct {
		life, want time.Duration
	}{
		"an hour of Google's is an hour":      {time.Hour, time.Hour},
		"a time that is short stays as short": {10 * time.Minute, 10 * time.Minute},
		"nothing outlives what was asked for": {3 * time.Hour, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFakeGoogle(t)
			fake.replies[iamHost] = []reply{impersonated(testNow.Add(behind + test.life)).dated(testNow.Add(behind))}
			got, err := newProvider(t, fake, impersonating()).Fetch(t.Context(), env(testNow, nil))
			if err != nil || !got.ExpiresAt.Equal(testNow.Add(test.want)) || got.Skew != "this machine's clock is 7m0s behind Google's" {
				t.Errorf("expires at %s, want %s, %q (%v)", got.ExpiresAt, testNow.Add(test.want), got.Skew, err)
			}
		})
	}
}

// An answer that counts the seconds needs no clock but ours.
func TestALifeInSecondsCountsByThisMachinesClock(t *testing.T) {
	fake := newFakeGoogle(t)
	fake.replies[stsHost] = []reply{federated().dated(testNow.Add(7 * time.Minute))}
	got, err := newProvider(t, fake, direct()).Fetch(t.Context(), env(testNow, nil))
	if want := testNow.Add(3599 * time.Second); err != nil || !got.ExpiresAt.Equal(want) {
		t.Errorf("expires at %s, want %s (%v)", got.ExpiresAt, want, err)
	}
}

func TestTheHostThatIsDownIsToldFromTheOther(t *testing.T) {
	page := reply{status: 502, header: map[string]string{"Content-Type": "text/html"}, body: "<html>"}
	for name, test := range map[string]struct {
		host  string
		reply reply
		down  string
	}{
		"the exchange fails":                      {stsHost, oauthError(503, "internal_failure", "oops"), stsHost},
		"a gateway answers in its place":          {stsHost, page, stsHost},
		"its answer can't be read":                {stsHost, reply{status: 200, body: "planted"}, stsHost},
		"it asks for fewer requests":              {stsHost, oauthError(429, "rate_limited", "slow down"), ""},
		"it can't reach the issuer":               {stsHost, oauthError(400, "invalid_grant", "Error connecting to the given credential's issuer."), ""},
		"it refuses":                              {stsHost, oauthError(400, "invalid_target", "no"), ""},
		"its answer holds no token":               {stsHost, reply{status: 200, body: `{"expires_in":3599}`}, ""},
		"its answer holds no expiry":              {stsHost, reply{status: 200, body: `{"access_token":"planted"}`}, ""},
		"the impersonation fails":                 {iamHost, rpcError(503, "UNAVAILABLE", "", "oops"), iamHost},
		"a gateway answers in its place as well":  {iamHost, page, iamHost},
		"its answer can't be read either":         {iamHost, reply{status: 200, body: "planted"}, iamHost},
		"it asks for fewer requests as well":      {iamHost, rpcError(429, "RESOURCE_EXHAUSTED", "", "slow down"), ""},
		"it refuses as well":                      {iamHost, rpcError(403, "PERMISSION_DENIED", "", "no"), ""},
		"its answer holds neither token nor time": {iamHost, reply{status: 200, body: `{}`}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFakeGoogle(t)
			fake.replies[test.host] = []reply{test.reply}
			provider := newProvider(t, fake, impersonating())
			_, err := provider.Fetch(t.Context(), env(testNow, nil))
			if got := providers.DownHost(failed(t, err)); got != test.down {
				t.Errorf("%q is said to be down: %v", got, err)
			}
			if got := provider.Endpoints(); !slices.Equal(got, []string{stsHost, iamHost}) {
				t.Errorf("the endpoints are %s", got)
			}
		})
	}
	for _, host := range []string{stsHost, iamHost} {
		t.Run("no connection to "+host, func(t *testing.T) {
			provider := newProvider(t, newFakeGoogle(t), impersonating())
			provider.client.Transport = &unreachable{provider.client.Transport, host}
			_, err := provider.Fetch(t.Context(), env(testNow, nil))
			if got := providers.DownHost(failed(t, err)); got != host {
				t.Errorf("%q is said to be down: %v", got, err)
			}
		})
	}
}

// unreachable is a network on which one host is missing.
type unreachable struct {
	http.RoundTripper
	host string
}

func (u *unreachable) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Host == u.host {
		return nil, errors.New("no route")
	}
	return u.RoundTripper.RoundTrip(request)
}

const staleText = "ID Token issued at 1795262400 is stale to sign-in."

func TestAStaleTokenIsMintedAnewOnce(t *testing.T) {
	fake := newFakeGoogle(t)
	fake.replies[stsHost] = []reply{oauthError(400, "invalid_grant", staleText), federated()}
	var tokens []minted
	got, err := newProvider(t, fake, direct()).Fetch(t.Context(), env(testNow, &tokens))
	if err != nil {
		t.Fatal(err)
	}
	if got.Login.Password != plantedFederated || len(tokens) != 2 {
		t.Errorf("got %s after %d tokens", got.Login, len(tokens))
	}
}

func TestATokenThatStaysStaleIsAMatterOfClocks(t *testing.T) {
	for name, test := range map[string]struct {
		issued time.Time
		reply  reply
		want   string
	}{
		"with the difference, if Google tells the time": {
			testNow.Add(5 * time.Minute), oauthError(400, "invalid_grant", staleText).dated(testNow),
			"token exchange at sts.googleapis.com: invalid_grant: " + staleText +
				"; this cluster's clock is 5m0s ahead of Google's: set it right",
		},
		"of a token from the future as well": {
			testNow.Add(5 * time.Minute), oauthError(400, "invalid_grant", "ID Token issued at 1795262700 is not yet valid.").dated(testNow),
			"token exchange at sts.googleapis.com: invalid_grant: ID Token issued at 1795262700 is not yet valid." +
				"; this cluster's clock is 5m0s ahead of Google's: set it right",
		},
		"without it, if Google doesn't": {
			testNow, oauthError(400, "invalid_grant", staleText),
			"token exchange at sts.googleapis.com: invalid_grant: " + staleText +
				"; set the clocks of the cluster's API servers right",
		},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFakeGoogle(t)
			fake.replies[stsHost] = []reply{test.reply}
			var tokens []minted
			_, err := newProvider(t, fake, direct()).Fetch(t.Context(), env(test.issued, &tokens))
			failure := failed(t, err)
			if failure.Class != providers.ClockSkew || failure.Message != test.want {
				t.Errorf("got  %s: %s\nwant %s", failure.Class, failure.Message, test.want)
			}
			if len(tokens) != 2 {
				t.Errorf("minted %d tokens", len(tokens))
			}
		})
	}
}

func TestNobodyWaitsForASecondAttemptAfterTheEnd(t *testing.T) {
	fake := newFakeGoogle(t)
	fake.replies[stsHost] = []reply{oauthError(400, "invalid_grant", staleText)}
	provider := newProvider(t, fake, direct())
	provider.pause = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	provider.client.Transport = &afterwards{provider.client.Transport, cancel}
	_, err := provider.Fetch(ctx, env(testNow, nil))
	if failure := failed(t, err); failure.Class != providers.ClockSkew {
		t.Errorf("got %s: %s", failure.Class, failure.Message)
	}
}

// afterwards calls a function when an answer's body has been read.
type afterwards struct {
	http.RoundTripper
	call func()
}

func (a *afterwards) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := a.RoundTripper.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	a.call()
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, err
}

func TestATokenThatCannotBeMintedIsTheEnd(t *testing.T) {
	fake := newFakeGoogle(t)
	forbidden := providers.Errorf(providers.Forbidden, "add a rule")
	_, err := newProvider(t, fake, direct()).Fetch(t.Context(), providers.Env{
		Token: func(context.Context, providers.ServiceAccount, string) (string, error) { return "", forbidden },
	})
	if !errors.Is(err, forbidden) || len(fake.sent()) != 0 {
		t.Errorf("got %v after %d requests", err, len(fake.sent()))
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	for name, host := range map[string]string{"in the token exchange": stsHost, "in the impersonation": iamHost} {
		t.Run(name, func(t *testing.T) {
			fake := newFakeGoogle(t)
			provider := newProvider(t, fake, impersonating())
			ctx, cancel := context.WithCancel(t.Context())
			provider.client.Transport = &before{provider.client.Transport, host, cancel}
			_, err := provider.Fetch(ctx, env(testNow, nil))
			failure := failed(t, err)
			if failure.Class != providers.Transient || !strings.HasSuffix(failure.Message, " at "+host+": cancelled") {
				t.Errorf("got %s: %s", failure.Class, failure.Message)
			}
			if !errors.Is(err, context.Canceled) {
				t.Error("the cause is lost")
			}
		})
	}
}

// before calls a function when a host is to be asked.
type before struct {
	http.RoundTripper
	host string
	call func()
}

func (b *before) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Host == b.host {
		b.call()
	}
	return b.RoundTripper.RoundTrip(request)
}

// The environment may make Google's client log whole requests and answers.
func TestGooglesClientLogsNothing(t *testing.T) {
	t.Setenv("GOOGLE_SDK_GO_LOGGING_LEVEL", "debug")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = write, write
	_, err = newProvider(t, newFakeGoogle(t), impersonating()).Fetch(t.Context(), env(testNow, nil))
	os.Stdout, os.Stderr = stdout, stderr
	_ = write.Close()
	if err != nil {
		t.Fatal(err)
	}
	if output, err := io.ReadAll(read); err != nil || len(output) > 0 {
		t.Errorf("logged %s (%v)", output, err)
	}
}

func TestATokenThatIsNoJWTSaysNothingAboutClocksAndIsHidden(t *testing.T) {
	fake := newFakeGoogle(t)
	fake.replies[stsHost] = []reply{oauthError(400, "invalid_grant", staleText+" It is minted-planted.").dated(testNow)}
	_, err := newProvider(t, fake, direct()).Fetch(t.Context(), providers.Env{
		Token: func(context.Context, providers.ServiceAccount, string) (string, error) { return "minted-planted", nil },
	})
	want := atSTS + "invalid_grant: " + staleText + " It is ***.; " +
		"set the clocks of the cluster's API servers right"
	if failure := failed(t, err); failure.Class != providers.ClockSkew || failure.Message != want {
		t.Errorf("got  %s: %s\nwant %s", failure.Class, failure.Message, want)
	}
}
