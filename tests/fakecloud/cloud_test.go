package fakecloud_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// eventually waits for something that no channel tells of.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s", what)
		}
		runtime.Gosched()
	}
}

func TestAHostThatNoServiceOwnsIsRefused(t *testing.T) {
	tests := map[string]string{
		"any other host":                            "example.com",
		"a name that only looks like a registry":    "111122223333.dkr.ecr.eu-central-1.amazonaws.com.example.com",
		"an account of eleven digits":               "11112222333.dkr.ecr.eu-central-1.amazonaws.com",
		"a region of another partition":             "api.ecr.cn-north-1.amazonaws.com",
		"a commercial region under China's suffix":  "sts.eu-central-1.amazonaws.com.cn",
		"a region that ECR Public is not in":        "api.ecr-public.eu-central-1.amazonaws.com",
		"the plain form of ECR under a dual suffix": "api.ecr.us-east-1.api.aws",
		"a good host on another port":               "sts.us-east-1.amazonaws.com:8443",
	}
	for name, host := range tests {
		t.Run(name, func(t *testing.T) {
			cloud, _ := start(t)
			response, err := cloud.HTTPClient().Get("https://" + host + "/")
			if err == nil {
				_ = response.Body.Close()
				t.Fatalf("the host answered %s", response.Status)
			}
			if !strings.Contains(err.Error(), "Bad Gateway") {
				t.Errorf("refused by %v", err)
			}
			if diff := cmp.Diff([]string{host}, cloud.UnknownHosts()); diff != "" {
				t.Errorf("unknown hosts (-want +got):\n%s", diff)
			}
			if got := cloud.Calls(fakecloud.Unknown); got != 1 {
				t.Errorf("%d unknown calls, want 1", got)
			}
		})
	}
}

func TestTheNameOfTheHandshakeIsTheNameOfTheRequest(t *testing.T) {
	cloud, _ := start(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://sts.us-east-1.amazonaws.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "sts.eu-central-1.amazonaws.com"
	response, err := cloud.HTTPClient().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("status %d, want 421", response.StatusCode)
	}
}

func TestPlainHTTPIsNotForwarded(t *testing.T) {
	cloud, _ := start(t)
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(cloud.ProxyURL()), DisableKeepAlives: true}}
	response, err := client.Get("http://sts.us-east-1.amazonaws.com/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusBadGateway {
		t.Errorf("status %d, want 502", response.StatusCode)
	}
}

func TestOnlyThisCloudsAuthorityVouchesForIt(t *testing.T) {
	cloud, _ := start(t)
	another, _ := start(t)
	client := &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyURL(cloud.ProxyURL()), TLSClientConfig: &tls.Config{RootCAs: another.CAPool(), MinVersion: tls.VersionTLS12},
	}}
	response, err := client.Get("https://sts.us-east-1.amazonaws.com/")
	if err == nil {
		_ = response.Body.Close()
		t.Fatal("a stranger's authority was good enough")
	}
	if !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("refused by %v", err)
	}
}

// TestEnvIsAllThatAProcessNeeds runs this very test in a child process, where it
// asks the cloud by its real name with a client that knows nothing of it.
func TestEnvIsAllThatAProcessNeeds(t *testing.T) {
	const child = "FAKECLOUD_TEST_CHILD"
	if os.Getenv(child) != "" {
		response, err := http.Get("https://sts.us-east-1.amazonaws.com/")
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return
	}
	cloud, _ := start(t)
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	command.Env = append(cloud.Env(), child+"=1")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if got := cloud.Calls(fakecloud.STS); got != 1 {
		t.Errorf("%d calls, want 1", got)
	}
}

func TestStopLeavesNothingBehind(t *testing.T) {
	cloud, _ := start(t)
	key := cloud.AddAccessKey(account, "puller")
	cloud.GrantECR(key.UserARN, account)
	push(t, cloud, image)
	if err := pull(t, cloud, image, login("AWS", token(t, ecrClient(cloud, static(key))))); err != nil {
		t.Fatal(err)
	}
	cloud.Stop()
	cloud.Stop()
	if _, err := os.Stat(cloud.CAFile()); !os.IsNotExist(err) {
		t.Errorf("the certificate file is still there: %v", err)
	}
	eventually(t, "no goroutine of the cloud is left", func() bool { return strings.Join(cloudGoroutines(), "") == "" })
}

// cloudGoroutines returns the stacks that run the package's or the registry's code.
func cloudGoroutines() []string {
	buffer := make([]byte, 1<<20)
	buffer = buffer[:runtime.Stack(buffer, true)]
	var left []string
	for stack := range bytes.SplitSeq(buffer, []byte("\n\n")) {
		s := string(stack)
		if strings.Contains(s, "tests/fakecloud.") || strings.Contains(s, "distribution/distribution/v3") {
			left = append(left, s)
		}
	}
	return left
}

func TestMistakesOfATestPanic(t *testing.T) {
	tests := map[string]func(*fakecloud.Cloud){
		"a fault in a service that is not there":  func(c *fakecloud.Cloud) { c.Fail(fakecloud.Unknown, fakecloud.Fault{Kind: fakecloud.Hang}) },
		"a fault of no kind":                      func(c *fakecloud.Cloud) { c.Fail(fakecloud.STS, fakecloud.Fault{}) },
		"a static login at a host of AWS":         func(c *fakecloud.Cloud) { c.AddStaticLogin("sts.amazonaws.com", "u", "p") },
		"an account that is none":                 func(c *fakecloud.Cloud) { c.AddAccessKey("1", "u") },
		"a partition that is none":                func(c *fakecloud.Cloud) { c.AddAccessKeyIn("azure", account, "u") },
		"a provider in an account that is none":   func(c *fakecloud.Cloud) { c.AddOIDCProvider("1", "https://issuer.example") },
		"a pod of a role that is not there":       func(c *fakecloud.Cloud) { c.PodIdentityEnv(role) },
		"an instance of a role that is not there": func(c *fakecloud.Cloud) { c.InstanceRoleEnv(role) },
		"a provider by the ID of its project": func(c *fakecloud.Cloud) {
			c.AddWorkloadIdentityProvider(fakecloud.WorkloadIdentityProvider{Name: "projects/p/locations/global/workloadIdentityPools/pool/providers/this"})
		},
		"a cluster that is none":             func(c *fakecloud.Cloud) { c.AddGKECluster("prod", "https://issuer.example") },
		"a service account that is a path":   func(c *fakecloud.Cloud) { c.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: "a/b@c"}) },
		"a registry of Google that is ECR's": func(c *fakecloud.Cloud) { c.GrantArtifactRegistry("public.ecr.aws", "p") },
		"a role whose ARN is a user's":       func(c *fakecloud.Cloud) { c.AddRole("arn:aws:iam::111122223333:user/u", fakecloud.Trust{}) },
	}
	cloud, _ := start(t)
	for name, mistake := range tests {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("nothing was said")
				}
			}()
			mistake(cloud)
		})
	}
}

func TestTheEndOfTheContextStopsTheCloud(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cloud, err := fakecloud.Start(ctx, fakecloud.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	cloud.Stop() // waits for the stop that the context began
	if _, err := os.Stat(cloud.CAFile()); !os.IsNotExist(err) {
		t.Errorf("the certificate file is still there: %v", err)
	}
}

func TestTheRegistryLogsWhereItIsToldAndNoSecrets(t *testing.T) {
	var log lockedBuffer
	cloud, err := fakecloud.Start(t.Context(), fakecloud.Options{Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.Stop()
	key := cloud.AddAccessKey(account, "puller")
	cloud.GrantECR(key.UserARN, account)
	push(t, cloud, image)
	if err := pull(t, cloud, image, login("AWS", token(t, ecrClient(cloud, static(key))))); err != nil {
		t.Fatal(err)
	}
	logged := log.String()
	if !strings.Contains(logged, "response completed") {
		t.Errorf("the registry logged elsewhere; here is %q", logged)
	}
	for _, secret := range cloud.IssuedTokens() {
		if strings.Contains(logged, secret) {
			t.Error("a secret was logged")
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestTheCloudServesManyAtOnce(t *testing.T) {
	cloud, clock := start(t)
	push(t, cloud, image)
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			key := cloud.AddAccessKey(account, "puller")
			cloud.GrantECR(key.UserARN, account)
			cloud.Fail(fakecloud.STS, fakecloud.Fault{Kind: fakecloud.Throttle, Count: 1})
			clock.advance(time.Millisecond)
			if _, err := ecrClient(cloud, static(key)).GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{}); err != nil {
				t.Error(err)
			}
			if err := pull(t, cloud, image, login("AWS", "wrong")); err == nil {
				t.Error("a wrong password was let in")
			}
			cloud.IssuedTokens()
		})
	}
	work.Wait()
	if got := cloud.Calls(fakecloud.ECR); got != 8 {
		t.Errorf("%d calls, want 8", got)
	}
}
