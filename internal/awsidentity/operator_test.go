package awsidentity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/internal/awsidentity/awstest"
	"github.com/imagepullsecrets/operator/providers"
)

// withEnvironment gives the test an environment of AWS that holds nothing but
// what is listed.
func withEnvironment(t *testing.T, variables map[string]string) {
	t.Helper()
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	for name, value := range variables {
		t.Setenv(name, value)
	}
}

func tokenFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// local is what runs on the node: the metadata service and the container's
// endpoint.
func local(t *testing.T, serve http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	return server
}

// ownIdentity returns the operator's identity. Its client takes requests for
// AWS only, as a proxy would, so that others fail if they get there.
func ownIdentity(t *testing.T, fake http.RoundTripper, roles ...Role) *Identity {
	t.Helper()
	return newIdentity(t, Config{Ambient: true, AssumeRoles: roles}, fake)
}

const localCredentials = `{"Code":"Success","AccessKeyId":"` + awstest.SessionID + `","SecretAccessKey":"` + awstest.SessionKey +
	`","Token":"` + awstest.Session + `","Expiration":"2130-01-02T04:04:05Z"}`

// metadata is an instance's metadata service, version 2.
func metadata(t *testing.T, asked *atomic.Int32) *httptest.Server {
	t.Helper()
	return local(t, func(w http.ResponseWriter, r *http.Request) {
		switch path := strings.TrimSuffix(r.URL.Path, "/"); {
		case path == "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
			_, _ = io.WriteString(w, "session")
		case r.Header.Get("X-Aws-Ec2-Metadata-Token") != "session":
			w.WriteHeader(http.StatusUnauthorized)
		case path == "/latest/meta-data/iam/security-credentials":
			_, _ = io.WriteString(w, "node")
		case path == "/latest/meta-data/iam/security-credentials/node":
			asked.Add(1)
			_, _ = io.WriteString(w, localCredentials)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
}

// podIdentity is EKS's agent on the node.
func podIdentity(t *testing.T, asked *atomic.Int32) *httptest.Server {
	t.Helper()
	return local(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "pod-token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, localCredentials)
	})
}

func TestTheOperatorsOwnIdentity(t *testing.T) {
	var asked atomic.Int32
	for name, test := range map[string]struct {
		environment map[string]string
		want        string
		onNode      int32
		calls       []string
	}{
		"a role for service accounts": {
			map[string]string{"AWS_ROLE_ARN": firstRole, "AWS_WEB_IDENTITY_TOKEN_FILE": tokenFile(t, "irsa-token")},
			awstest.SessionID, 0, []string{awstest.WebIdentity},
		},
		"EKS Pod Identity": {
			map[string]string{
				"AWS_CONTAINER_CREDENTIALS_FULL_URI":     podIdentity(t, &asked).URL + "/v1/credentials",
				"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": tokenFile(t, "pod-token"),
			}, awstest.SessionID, 1, nil,
		},
		"the instance's role": {
			map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata(t, &asked).URL}, awstest.SessionID, 1, nil,
		},
		"its environment": {
			map[string]string{"AWS_ACCESS_KEY_ID": awstest.KeyID, "AWS_SECRET_ACCESS_KEY": awstest.SecretKey}, awstest.KeyID, 0, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			withEnvironment(t, test.environment)
			asked.Store(0)
			fake := awstest.NewServer(t)
			identity := ownIdentity(t, fake)
			other, err := New(Config{Ambient: true}, frankfurt(t), identity.client)
			if err != nil {
				t.Fatal(err)
			}
			for _, identity := range []*Identity{identity, identity, other} {
				run := begin(identity, providers.Env{})
				provider, err := run.Credentials(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if got, err := provider.Retrieve(t.Context()); err != nil || got.AccessKeyID != test.want || run.Who() != "the operator's own identity" {
					t.Errorf("got %s as %s, %v", got.AccessKeyID, run.Who(), err)
				}
			}
			// Three exchanges of two identities share what was got once.
			if diff := cmp.Diff(test.calls, fake.Actions()); diff != "" || asked.Load() != test.onNode {
				t.Errorf("asked the node %d times, and AWS: %s", asked.Load(), diff)
			}
		})
	}
}

func TestTheOperatorsOwnRoleIsAskedForInTheRegion(t *testing.T) {
	for name, test := range map[string]struct{ set, want string }{
		"under the operator's name":       {"", "imagepullsecret-operator"},
		"under a name of its environment": {"cluster-7", "cluster-7"},
	} {
		t.Run(name, func(t *testing.T) {
			withEnvironment(t, map[string]string{
				"AWS_ROLE_ARN": firstRole, "AWS_WEB_IDENTITY_TOKEN_FILE": tokenFile(t, "irsa-token"), "AWS_REGION": "us-east-1", "AWS_ROLE_SESSION_NAME": test.set,
			})
			fake := awstest.NewServer(t)
			if _, err := become(t, ownIdentity(t, fake, Role{nextRole, "ext:1"}), providers.Env{}); err != nil {
				t.Fatal(err)
			}
			sent := fake.Requests()[0]
			if sent.Host != "sts.eu-central-1.amazonaws.com" || sent.Form.Get("WebIdentityToken") != "irsa-token" || sent.Form.Get("RoleSessionName") != test.want {
				t.Errorf("sent %+v", sent)
			}
			if next := seen(t, fake)[1]; next != (assumed{"AssumeRole", nextRole, "imagepullsecret-operator", "ext:1", "900", awstest.SessionID}) {
				t.Errorf("went on with %+v", next)
			}
		})
	}
}

func TestOwnCredentialsThatAWSRefusesAreForgotten(t *testing.T) {
	withEnvironment(t, map[string]string{"AWS_ROLE_ARN": firstRole, "AWS_WEB_IDENTITY_TOKEN_FILE": tokenFile(t, "irsa-token")})
	for name, test := range map[string]struct {
		code  string
		hint  string
		calls int
	}{
		"a session that was revoked":   {"ExpiredToken", "AWS does not take the operator's own credentials", 2},
		"a role that is not permitted": {"AccessDenied", "let the trust policy of " + nextRole + " name the operator's own identity", 1},
	} {
		t.Run(name, func(t *testing.T) {
			fake := awstest.NewServer(t)
			fake.Answer(awstest.AssumeRole, awstest.STSError(403, test.code, "no "+awstest.SessionKey), awstest.Sessions(awstest.AssumeRole))
			identity := ownIdentity(t, fake, Role{RoleARN: nextRole})
			_, err := become(t, identity, providers.Env{})
			awstest.CheckError(t, err, providers.Denied, test.hint)
			if _, err := become(t, identity, providers.Env{}); err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(fmt.Sprint(fake.Actions()), awstest.WebIdentity); got != test.calls {
				t.Errorf("became itself %d times", got)
			}
		})
	}
}

func TestWhyTheOperatorHasNoIdentityIsTold(t *testing.T) {
	secrets := strings.Join(awstest.Secrets(), " ")
	speaking := local(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"code":"AccessDeniedException","message":"no association %s"}`, awstest.SessionID)
	})
	mumbling := local(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, secrets)
	})
	refusing := local(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, secrets)
	})
	irsa := map[string]string{"AWS_ROLE_ARN": firstRole, "AWS_WEB_IDENTITY_TOKEN_FILE": tokenFile(t, "irsa-token")}
	for name, test := range map[string]struct {
		environment map[string]string
		sts         awstest.Reply
		class       providers.Class
		want        []string
	}{
		"a trust policy that does not name it": {
			irsa, awstest.STSError(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"), providers.Denied,
			[]string{"getting the operator's own AWS credentials at sts.eu-central-1.amazonaws.com: AccessDenied: Not authorized", "request id 1111", ownHint},
		},
		"an identity provider that is missing": {
			irsa, awstest.STSError(400, "IDPRejectedClaim", "no"), providers.Invalid, []string{"check its issuer and audience"},
		},
		"a portal": {
			irsa, awstest.HTML(403, secrets), providers.Transient, []string{"403 Forbidden with text/html"},
		},
		"a token file that is missing": {
			map[string]string{"AWS_ROLE_ARN": firstRole, "AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent"}, awstest.Reply{}, providers.Transient, []string{"the operator's own AWS credentials at sts.eu-central-1.amazonaws.com: there are none; ", ownHint},
		},
		"an agent that refuses": {
			map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": speaking.URL}, awstest.Reply{}, providers.Denied,
			[]string{"at the container's credentials endpoint: AccessDeniedException: no association ***", ownHint},
		},
		"an agent that mumbles": {
			map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": mumbling.URL}, awstest.Reply{}, providers.Transient, []string{"at the container's credentials endpoint: there are none"},
		},
		"an agent that refuses in a line of text": {
			map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": refusing.URL}, awstest.Reply{}, providers.Denied,
			[]string{"at the container's credentials endpoint: refused (403 Forbidden); ", ownHint},
		},
		"a metadata service that is off": {
			map[string]string{"AWS_EC2_METADATA_DISABLED": "true"}, awstest.Reply{}, providers.Transient, []string{"at the instance's metadata service: there are none", ownHint},
		},
		"a profile that is missing": {
			map[string]string{"AWS_PROFILE": "missing"}, awstest.Reply{}, providers.Invalid, []string{"the operator's own AWS configuration: ", "missing", "check AWS_* in its environment"},
		},
		"a CA bundle of the SDK's": {
			map[string]string{"AWS_CA_BUNDLE": tokenFile(t, "x"), "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}, awstest.Reply{}, providers.Invalid, []string{"SSL_CERT_FILE stands in for AWS_CA_BUNDLE"},
		},
		"an endpoint that is not on the node": {
			map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://192.0.2.1/"}, awstest.Reply{}, providers.Invalid, []string{"only loopback/ecs/eks hosts are allowed"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			withEnvironment(t, test.environment)
			fake := awstest.NewServer(t)
			fake.Answer(awstest.WebIdentity, test.sts)
			_, err := become(t, ownIdentity(t, fake), providers.Env{})
			awstest.CheckError(t, err, test.class, test.want...)
		})
	}
}

func TestAMetadataServiceThatIsNotThereIsTold(t *testing.T) {
	refused := fmt.Errorf("no EC2 IMDS role found, %w", &url.Error{Op: "Put", URL: "http://169.254.169.254", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}})
	err := begin(ownIdentity(t, nil), providers.Env{}).withoutOwn(t.Context(), "the instance's metadata service", refused)
	awstest.CheckError(t, err, providers.Transient, "at the instance's metadata service: could not be reached: connection refused", ownHint)
}

// Nobody has asked the service's own host by then.
func TestWhatGivesTheOperatorItsIdentityIsDownOnlyIfItIsTheEndpoint(t *testing.T) {
	config := Config{Ambient: true, AssumeRoles: []Role{{RoleARN: nextRole}}}
	for name, test := range map[string]struct {
		identity     *Identity
		origin, down string
	}{
		"the metadata service":            {ownIdentity(t, nil), "the instance's metadata service", ""},
		"the metadata service, then STS":  {newIdentity(t, config, nil), "the instance's metadata service", ""},
		"STS, then the service itself":    {ownIdentity(t, nil), "sts.eu-central-1.amazonaws.com", ""},
		"STS, which is also what is next": {newIdentity(t, config, nil), "sts.eu-central-1.amazonaws.com", "sts.eu-central-1.amazonaws.com"},
	} {
		t.Run(name, func(t *testing.T) {
			failed := &url.Error{Op: "Put", URL: "http://169.254.169.254", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}
			if err := begin(test.identity, providers.Env{}).withoutOwn(t.Context(), test.origin, failed); err.Host != test.origin || !err.Down {
				t.Errorf("down is %q: %v", providers.DownHost(err), err)
			}
		})
	}
}

func TestAnAgentThatHangsEndsWithTheExchange(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	finished := make(chan struct{})
	server := local(t, func(http.ResponseWriter, *http.Request) {
		cancel()
		<-finished
	})
	defer close(finished)
	withEnvironment(t, map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": server.URL})
	_, err := begin(ownIdentity(t, awstest.NewServer(t)), providers.Env{}).Credentials(ctx)
	awstest.CheckError(t, err, providers.Transient, "at the container's credentials endpoint: cancelled")
}

func TestRequestsOnTheNodeKnowNoProxyAndEnd(t *testing.T) {
	proxied := &http.Client{Transport: awstest.Broken{Err: errors.New("through the proxy")}}
	client := newOwnClient(proxied)
	transport, ok := client.local.Transport.(*http.Transport)
	if !ok || transport.Proxy != nil || client.local.Timeout == 0 || client.cloud.Timeout == 0 || proxied.Timeout != 0 {
		t.Errorf("got %+v and %+v", client.local, client.cloud)
	}
	server := local(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) })
	for address, want := range map[string]bool{server.URL: true, "https://127.0.0.1:1": false} {
		asked, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(asked)
		if (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
		if err == nil && response.StatusCode != http.StatusFound {
			t.Errorf("%s: the redirect was followed: %s", address, response.Status)
		}
		if err == nil {
			_ = response.Body.Close()
		}
	}
}

func TestOriginsAreNamed(t *testing.T) {
	run := begin(ownIdentity(t, nil), providers.Env{})
	for name, test := range map[string]struct {
		provider aws.CredentialsProvider
		want     string
	}{
		"none":     {aws.AnonymousCredentials{}, "an unknown place"},
		"the last": {sourced{aws.CredentialSourceProfile, aws.CredentialSourceProfileSTSWebIDToken}, "what AWS_* in its environment names"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := run.origin(aws.NewCredentialsCache(test.provider)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// sourced is a provider that says where its credentials are from.
type sourced []aws.CredentialSource

func (sourced) Retrieve(context.Context) (aws.Credentials, error) { return aws.Credentials{}, nil }
func (s sourced) ProviderSources() []aws.CredentialSource         { return s }
