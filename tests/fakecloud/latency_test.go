package fakecloud_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// everlasting is a latency that no test waits for.
const everlasting = 24 * time.Hour

func TestADelayedRequestEndsWithItsClientAndWithTheCloud(t *testing.T) {
	tests := map[string]func(cancel context.CancelFunc, cloud *fakecloud.Cloud){
		"the client goes away": func(cancel context.CancelFunc, _ *fakecloud.Cloud) { cancel() },
		"the cloud stops":      func(_ context.CancelFunc, cloud *fakecloud.Cloud) { cloud.Stop() },
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			cloud, call := services(t)
			cloud.SetLatency(everlasting)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 2)
			for _, service := range []fakecloud.Service{fakecloud.ECR, fakecloud.STS} {
				go func() {
					_, err := call[service](ctx)
					done <- err
				}()
			}
			// One that is delayed keeps nobody else waiting.
			eventually(t, "both are being delayed", func() bool {
				return cloud.Calls(fakecloud.ECR) == 1 && cloud.Calls(fakecloud.STS) == 1
			})
			cloud.SetLatency(0) // is for later requests only
			select {
			case err := <-done:
				t.Fatalf("a request was not delayed: %v", err)
			default:
			}
			end(cancel, cloud)
			for range 2 {
				if err := <-done; err == nil {
					t.Error("a delayed request was answered")
				}
			}
			cloud.Stop() // hangs if a delayed request does not end
		})
	}
}

func TestADelayedRequestIsAnsweredInTheEnd(t *testing.T) {
	cloud, call := services(t)
	cloud.SetLatency(time.Millisecond)
	for service := range call {
		if served, err := call[service](t.Context()); !served {
			t.Errorf("%s: %v", service, err)
		}
	}
	cloud.Fail(fakecloud.ECR, fakecloud.Fault{Kind: fakecloud.Throttle, Count: 1})
	if _, err := call[fakecloud.ECR](t.Context()); code(err) != "ThrottlingException" {
		t.Errorf("a fault that is delayed: %v", err)
	}
}

func TestRegistriesAndAmbientEndpointsAreNotDelayed(t *testing.T) {
	cloud, _ := ambientRole(t)
	cloud.SetLatency(everlasting)
	cloud.AddStaticLogin("registry.example.com", "robot", "s3cret")
	endpoint := ""
	for _, variable := range cloud.InstanceRoleEnv(role) {
		if name, value, _ := strings.Cut(variable, "="); name == "AWS_EC2_METADATA_SERVICE_ENDPOINT" {
			endpoint = value
		}
	}
	for name, address := range map[string]string{"a registry": "https://registry.example.com/v2/", "an ambient endpoint": endpoint} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := cloud.HTTPClient().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			if err := response.Body.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
