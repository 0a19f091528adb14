package fakecloud_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// services are the calls that faults are tried on: each returns an error, and
// whether the answer held what was asked for.
func services(t *testing.T) (*fakecloud.Cloud, map[fakecloud.Service]func(context.Context) (bool, error)) {
	t.Helper()
	cloud, _ := start(t)
	key := cloud.AddAccessKey(account, "puller")
	cloud.GrantECR(key.UserARN, account)
	cloud.AddRole(role, fakecloud.Trust{Principals: []string{key.UserARN}})
	return cloud, map[fakecloud.Service]func(context.Context) (bool, error){
		fakecloud.ECR: func(ctx context.Context) (bool, error) {
			answer, err := ecrClient(cloud, static(key)).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
			return err == nil && len(answer.AuthorizationData) > 0, err
		},
		fakecloud.STS: func(ctx context.Context) (bool, error) {
			answer, err := stsClient(cloud, static(key)).AssumeRole(ctx, assume(role), func(*sts.Options) {})
			return err == nil && answer.Credentials != nil, err
		},
	}
}

func TestFaultsLookAsTheServicesWouldHaveThem(t *testing.T) {
	tests := map[string]struct {
		kind    fakecloud.FaultKind
		service fakecloud.Service
		want    string // error code, or what an error without one must hold; empty: no error
	}{
		"ECR throttles":                      {fakecloud.Throttle, fakecloud.ECR, "ThrottlingException"},
		"ECR fails":                          {fakecloud.ServerError, fakecloud.ECR, "ServerException"},
		"ECR denies":                         {fakecloud.Denied, fakecloud.ECR, "AccessDeniedException"},
		"ECR answers without a token":        {fakecloud.Empty, fakecloud.ECR, ""},
		"ECR is behind a captive portal":     {fakecloud.HTML, fakecloud.ECR, "deserialization failed"},
		"ECR is behind a broken gateway":     {fakecloud.BadGateway, fakecloud.ECR, "StatusCode: 502"},
		"ECR hangs up in the middle":         {fakecloud.Truncate, fakecloud.ECR, "unexpected EOF"},
		"ECR sends more than anyone wants":   {fakecloud.Oversize, fakecloud.ECR, "deserialization failed"},
		"ECR redirects to a host unknown":    {fakecloud.Redirect, fakecloud.ECR, "UnknownError"},
		"STS throttles":                      {fakecloud.Throttle, fakecloud.STS, "Throttling"},
		"STS fails":                          {fakecloud.ServerError, fakecloud.STS, "InternalFailure"},
		"STS denies":                         {fakecloud.Denied, fakecloud.STS, "AccessDenied"},
		"STS answers without credentials":    {fakecloud.Empty, fakecloud.STS, ""},
		"STS is behind a captive portal":     {fakecloud.HTML, fakecloud.STS, "deserialization failed"},
		"STS is behind a broken gateway":     {fakecloud.BadGateway, fakecloud.STS, "StatusCode: 502"},
		"STS hangs up in the middle":         {fakecloud.Truncate, fakecloud.STS, "unexpected EOF"},
		"STS sends more than anyone wants":   {fakecloud.Oversize, fakecloud.STS, ""},
		"STS redirects to a host unknown":    {fakecloud.Redirect, fakecloud.STS, "UnknownError"},
		"an unaffected service goes on well": {"", fakecloud.STS, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cloud, call := services(t)
			if tt.kind != "" {
				cloud.Fail(tt.service, fakecloud.Fault{Kind: tt.kind, Count: 1})
			}
			served, err := call[tt.service](t.Context())
			if got := code(err); got != tt.want && (tt.want == "" || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %q, want %q", got, tt.want)
			}
			if want := tt.kind == ""; served != want {
				t.Errorf("served is %t, want %t", served, want)
			}
			if served, err := call[tt.service](t.Context()); !served {
				t.Errorf("the fault outlived its count: %v", err)
			}
		})
	}
}

func TestFaultsQueueUpUntilTheyAreCleared(t *testing.T) {
	cloud, call := services(t)
	cloud.Fail(fakecloud.ECR, fakecloud.Fault{Kind: fakecloud.Throttle, Count: 2})
	cloud.Fail(fakecloud.ECR, fakecloud.Fault{Kind: fakecloud.Denied})
	var got []string
	for range 5 {
		_, err := call[fakecloud.ECR](t.Context())
		got = append(got, code(err))
	}
	want := []string{"ThrottlingException", "ThrottlingException", "AccessDeniedException", "AccessDeniedException", "AccessDeniedException"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	cloud.ClearFaults()
	if served, err := call[fakecloud.ECR](t.Context()); !served {
		t.Errorf("after clearing: %v", err)
	}
	if got := cloud.Calls(fakecloud.ECR); got != 6 {
		t.Errorf("%d calls, want 6", got)
	}
}

func TestAHeldRequestEndsWithItsClientAndWithTheCloud(t *testing.T) {
	tests := map[string]func(cancel context.CancelFunc, cloud *fakecloud.Cloud){
		"the client goes away": func(cancel context.CancelFunc, _ *fakecloud.Cloud) { cancel() },
		"the cloud stops":      func(_ context.CancelFunc, cloud *fakecloud.Cloud) { cloud.Stop() },
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			cloud, call := services(t)
			cloud.Fail(fakecloud.ECR, fakecloud.Fault{Kind: fakecloud.Hang})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() {
				_, err := call[fakecloud.ECR](ctx)
				done <- err
			}()
			eventually(t, "the request is held", func() bool { return cloud.Calls(fakecloud.ECR) == 1 })
			select {
			case err := <-done:
				t.Fatalf("the request was not held: %v", err)
			default:
			}
			end(cancel, cloud)
			if err := <-done; err == nil {
				t.Error("a held request was answered")
			}
			cloud.Stop() // hangs if the held request does not end
		})
	}
}

func TestRedirectsAndRetryAfterAreSeenByTheClient(t *testing.T) {
	cloud, _ := start(t)
	client := *cloud.HTTPClient()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	cloud.Fail(fakecloud.STS, fakecloud.Fault{Kind: fakecloud.Redirect, Count: 1})
	cloud.Fail(fakecloud.STS, fakecloud.Fault{Kind: fakecloud.Throttle, Count: 1, RetryAfter: 7e9})

	get := func() *http.Response {
		response, err := client.Get("https://sts.amazonaws.com/?a=b")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = response.Body.Close() })
		return response
	}
	if r := get(); r.StatusCode != http.StatusTemporaryRedirect || r.Header.Get("Location") != "https://"+fakecloud.RedirectHost+"/?a=b" {
		t.Errorf("status %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
	if r := get(); r.StatusCode != http.StatusBadRequest || r.Header.Get("Retry-After") != "7" {
		t.Errorf("status %d with Retry-After %q", r.StatusCode, r.Header.Get("Retry-After"))
	}
	if got := cloud.UnknownHosts(); len(got) != 0 {
		t.Errorf("a redirect that was not followed asked for %v", got)
	}
}

func TestRegistryFaults(t *testing.T) {
	tests := map[fakecloud.FaultKind]int{
		fakecloud.Throttle:    http.StatusTooManyRequests,
		fakecloud.ServerError: http.StatusInternalServerError,
		fakecloud.BadGateway:  http.StatusBadGateway,
		fakecloud.Denied:      http.StatusForbidden,
		fakecloud.Empty:       http.StatusOK,
		fakecloud.HTML:        http.StatusOK,
	}
	cloud, _ := start(t)
	cloud.AddStaticLogin("registry.example.com", "robot", "s3cret")
	for kind, want := range tests {
		t.Run(string(kind), func(t *testing.T) {
			cloud.Fail(fakecloud.Registry, fakecloud.Fault{Kind: kind, Count: 1})
			response, err := cloud.HTTPClient().Get("https://registry.example.com/v2/")
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if response.StatusCode != want {
				t.Errorf("status %d, want %d", response.StatusCode, want)
			}
		})
	}
	cloud.Fail(fakecloud.Registry, fakecloud.Fault{Kind: fakecloud.Truncate, Count: 1})
	response, err := cloud.HTTPClient().Get("https://registry.example.com/v2/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.ReadAll(response.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a truncated answer ends with %v", err)
	}
}

func TestAFaultOfOneHostLeavesOthersAlone(t *testing.T) {
	cloud, _ := start(t)
	cloud.AddStaticLogin("bad.example.com", "u", "p")
	cloud.AddStaticLogin("good.example.com", "u", "p")
	status := func(host string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth("u", "p")
		answer, err := cloud.HTTPClient().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	cloud.Fail(fakecloud.Registry, fakecloud.Fault{Kind: fakecloud.ServerError, Host: "bad.example.com"})
	if bad, good := status("bad.example.com"), status("good.example.com"); bad != http.StatusInternalServerError || good != http.StatusOK {
		t.Errorf("the two hosts answer %d and %d", bad, good)
	}
	cloud.ClearFaultsOf("bad.example.com")
	if bad := status("bad.example.com"); bad != http.StatusOK {
		t.Errorf("after the fault the host answers %d", bad)
	}
}
