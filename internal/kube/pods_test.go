package kube

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// A client of Kubernetes waits by itself for as long as such an answer says,
// ten times over.
func TestAnEvictionThatIsPutOffIsReturnedAtOnce(t *testing.T) {
	var asked []string
	var eviction policyv1.Eviction
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		if err := json.NewDecoder(r.Body).Decode(&eviction); err != nil {
			t.Error(err)
		}
		w.Header().Set("Retry-After", "10")
		w.Header().Set("Content-Type", runtime.ContentTypeJSON)
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"TooManyRequests","code":429}`))
	}))
	defer server.Close()
	core, err := corev1client.NewForConfig(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: runtime.ContentTypeJSON}})
	if err != nil {
		t.Fatal(err)
	}
	err = NewPods(core).Evict(t.Context(), types.NamespacedName{Namespace: "team-a", Name: "app-1"}, "pod-uid")
	if !apierrors.IsTooManyRequests(err) || len(asked) != 1 || asked[0] != "POST /api/v1/namespaces/team-a/pods/app-1/eviction" {
		t.Errorf("asked %q, got %v", asked, err)
	}
	if options := eviction.DeleteOptions; options == nil || options.Preconditions == nil || *options.Preconditions.UID != "pod-uid" {
		t.Errorf("another Pod of the name could be evicted: %+v", options)
	}
}
