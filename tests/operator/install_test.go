package operator

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// serving is an API server that serves our API from the nth question on.
func serving(t *testing.T, from int) (*rest.Config, *int) {
	t.Helper()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/apis/images.banzaicloud.io/v1alpha1" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.Header().Set("Content-Type", "application/json")
		asked++
		if asked < from {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(`{"kind":"APIResourceList","groupVersion":"images.banzaicloud.io/v1alpha1","resources":[{"name":"imagepullsecrets","kind":"ImagePullSecret"}]}`))
	}))
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL}, &asked
}

func TestAnInstallationIsDoneWhenTheAPIIsServed(t *testing.T) {
	config, asked := serving(t, 3)
	if err := awaitAPI(t.Context(), config); err != nil || *asked != 3 {
		t.Errorf("asked %d times, %v", *asked, err)
	}
}

func TestAnAPIThatIsNeverServedIsTold(t *testing.T) {
	config, _ := serving(t, 1<<30)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := awaitAPI(ctx, config)
	if err == nil || !strings.Contains(err.Error(), "waiting for the API server to serve images.banzaicloud.io/v1alpha1") {
		t.Errorf("got %v", err)
	}
}
