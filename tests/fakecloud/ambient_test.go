package fakecloud_test

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"golang.org/x/oauth2/google"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// setEnv gives this process an environment, and none of what it has otherwise that
// clients look for an identity in.
func setEnv(t *testing.T, variables []string) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "GOOGLE_") || strings.HasPrefix(name, "GCE_") {
			t.Setenv(name, "")
			_ = os.Unsetenv(name)
		}
	}
	for _, variable := range variables {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
}

// ambientRole is a cloud with a role that may pull.
func ambientRole(t *testing.T) (*fakecloud.Cloud, *clock) {
	t.Helper()
	cloud, clock := start(t)
	cloud.AddRole(role, fakecloud.Trust{})
	cloud.GrantECR(role, other)
	return cloud, clock
}

func TestTheEnvironmentIsAllThatTheSDKNeedsForARole(t *testing.T) {
	tests := map[string]struct {
		env    func(*fakecloud.Cloud) []string
		source string
		lasts  time.Duration // of six hours, what the SDK makes use of
	}{
		"as a pod":       {func(c *fakecloud.Cloud) []string { return c.PodIdentityEnv(role) }, "CredentialsEndpointProvider", 6*time.Hour - 5*time.Minute},
		"as an instance": {func(c *fakecloud.Cloud) []string { return c.InstanceRoleEnv(role) }, "EC2RoleProvider", time.Hour},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cloud, _ := ambientRole(t)
			setEnv(t, tt.env(cloud))
			found, err := config.LoadDefaultConfig(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			credentials, err := found.Credentials.Retrieve(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if credentials.Source != tt.source || !credentials.CanExpire {
				t.Errorf("the credentials are of %s and expire: %t", credentials.Source, credentials.CanExpire)
			}
			if left := time.Until(credentials.Expires).Round(time.Minute); left != tt.lasts {
				t.Errorf("the session lasts %s, want %s", left, tt.lasts)
			}
			push(t, cloud, otherImage)
			fixed := aws.CredentialsProviderFunc(found.Credentials.Retrieve)
			if err := pull(t, cloud, otherImage, login("AWS", token(t, ecrClient(cloud, fixed)))); err != nil {
				t.Error(err)
			}
			if cloud.Calls(fakecloud.Ambient) == 0 {
				t.Error("the endpoint was not counted")
			}
		})
	}
}

// endpoint returns the address in the first of some environment variables.
func endpoint(variables []string) string {
	_, address, _ := strings.Cut(variables[0], "=")
	if !strings.HasPrefix(address, "http") {
		address = "http://" + address
	}
	return address
}

// ask sends a request to an endpoint on loopback; headers are names and values.
func ask(t *testing.T, method, address string, headers ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(headers); at += 2 {
		request.Header.Set(headers[at], headers[at+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

func TestAPodsCredentialsNeedItsToken(t *testing.T) {
	cloud, _ := ambientRole(t)
	variables := cloud.PodIdentityEnv(role)
	file, _ := strings.CutPrefix(variables[1], "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=")
	token, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	address := endpoint(variables)
	ask(t, http.MethodGet, address, "Authorization", string(token)).has(t, http.StatusOK, "AccessKeyId")
	ask(t, http.MethodGet, address, "Authorization", "made-up").has(t, http.StatusBadRequest, "AccessDeniedException")
	ask(t, http.MethodGet, address).has(t, http.StatusBadRequest, "AccessDeniedException")
	ask(t, http.MethodGet, address+"/other", "Authorization", string(token)).has(t, http.StatusNotFound, "")
	another := endpoint(cloud.PodIdentityEnv(role))
	ask(t, http.MethodGet, another, "Authorization", string(token)).has(t, http.StatusBadRequest, "AccessDeniedException")
}

func TestInstanceMetadataNeedsASession(t *testing.T) {
	const ttl, session = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "X-Aws-Ec2-Metadata-Token"
	cloud, clock := ambientRole(t)
	address := endpoint(cloud.InstanceRoleEnv(role))
	roles := address + "/latest/meta-data/iam/security-credentials/"
	ask(t, http.MethodGet, roles).has(t, http.StatusUnauthorized, "")
	ask(t, http.MethodGet, roles, session, "made-up").has(t, http.StatusUnauthorized, "")
	ask(t, http.MethodPut, address+"/latest/api/token").has(t, http.StatusBadRequest, "")
	ask(t, http.MethodPut, address+"/latest/api/token", ttl, "21601").has(t, http.StatusBadRequest, "")
	token := ask(t, http.MethodPut, address+"/latest/api/token", ttl, "60")
	token.has(t, http.StatusOK, "")
	ask(t, http.MethodGet, roles, session, token.text).has(t, http.StatusOK, "puller")
	ask(t, http.MethodGet, roles+"puller", session, token.text).has(t, http.StatusOK, `"Code":"Success"`)
	ask(t, http.MethodGet, roles+"other", session, token.text).has(t, http.StatusNotFound, "")
	clock.advance(time.Minute)
	ask(t, http.MethodGet, roles, session, token.text).has(t, http.StatusUnauthorized, "")
}

func TestTheEnvironmentIsAllThatGooglesLibraryNeeds(t *testing.T) {
	cloud, _ := start(t)
	cloud.GrantArtifactRegistry(googleHost, "serviceAccount:"+puller)
	push(t, cloud, googleImage)
	setEnv(t, cloud.MetadataServerEnv(puller))
	found, err := google.FindDefaultCredentials(t.Context(), cloudPlatform)
	if err != nil {
		t.Fatal(err)
	}
	got, err := found.TokenSource.Token()
	if err != nil {
		t.Fatal(err)
	}
	if err := pull(t, cloud, googleImage, login("oauth2accesstoken", got.AccessToken)); err != nil {
		t.Error(err)
	}
	if universe, err := found.GetUniverseDomain(); err != nil || universe != "googleapis.com" {
		t.Errorf("the universe is %q (%v)", universe, err)
	}
}

func TestTheMetadataServerTellsOnlyThoseThatAskProperly(t *testing.T) {
	const flavor = "Metadata-Flavor"
	cloud, _ := start(t)
	address := endpoint(cloud.MetadataServerEnv(puller))
	account := address + "/computeMetadata/v1/instance/service-accounts/"
	for path, want := range map[string]string{
		"default/email": puller, puller + "/email": puller, "default/token": "access_token", "": "default/", "default/scopes": cloudPlatform,
	} {
		ask(t, http.MethodGet, account+path, flavor, "Google").has(t, http.StatusOK, want)
	}
	if got := ask(t, http.MethodGet, address); got.status != http.StatusOK || got.header.Get(flavor) != "Google" {
		t.Errorf("a probe gets %d with %v", got.status, got.header)
	}
	ask(t, http.MethodGet, account+"default/token").has(t, http.StatusForbidden, "Metadata-Flavor")
	ask(t, http.MethodGet, account+"default/token", flavor, "Google", "X-Forwarded-For", "10.0.0.1").has(t, http.StatusForbidden, "")
	ask(t, http.MethodGet, account+"other@project.iam.gserviceaccount.com/token", flavor, "Google").has(t, http.StatusNotFound, "")
}

func TestAmbientEndpointsFailToo(t *testing.T) {
	tests := map[fakecloud.FaultKind]int{
		fakecloud.Throttle:    http.StatusTooManyRequests,
		fakecloud.ServerError: http.StatusInternalServerError,
		fakecloud.BadGateway:  http.StatusBadGateway,
		fakecloud.Denied:      http.StatusForbidden,
	}
	cloud, _ := start(t)
	address := endpoint(cloud.MetadataServerEnv(puller)) + "/computeMetadata/v1/instance/service-accounts/default/token"
	for kind, want := range tests {
		t.Run(string(kind), func(t *testing.T) {
			cloud.Fail(fakecloud.Ambient, fakecloud.Fault{Kind: kind, Count: 1})
			ask(t, http.MethodGet, address, "Metadata-Flavor", "Google").has(t, want, "")
			ask(t, http.MethodGet, address, "Metadata-Flavor", "Google").has(t, http.StatusOK, "access_token")
		})
	}
	cloud.Fail(fakecloud.Ambient, fakecloud.Fault{Kind: fakecloud.Empty, Count: 1})
	if got := ask(t, http.MethodGet, address, "Metadata-Flavor", "Google"); got.status != http.StatusOK || got.text != "{}" {
		t.Errorf("an empty answer is %d %q", got.status, got.text)
	}
}

func TestAmbientEndpointsEndWithTheCloud(t *testing.T) {
	cloud, _ := start(t)
	address := endpoint(cloud.MetadataServerEnv(puller))
	ask(t, http.MethodGet, address).has(t, http.StatusOK, "")
	cloud.Stop()
	if response, err := http.Get(address); err == nil {
		_ = response.Body.Close()
		t.Error("the endpoint answers after the cloud has stopped")
	}
}
