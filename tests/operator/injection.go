package operator

import (
	"fmt"
	"slices"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// Injects tells whether a cluster can give new Pods the Secrets' names, as the
// chart asks it: by whether its API server serves MutatingAdmissionPolicy in the
// version that Kubernetes 1.36 brought.
func Injects(config *rest.Config) (bool, error) {
	server, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return false, fmt.Errorf("making a discovery client: %w", err)
	}
	served, err := server.ServerResourcesForGroupVersion(admissionv1.SchemeGroupVersion.String())
	if err != nil {
		return false, fmt.Errorf("asking what the API server serves: %w", err)
	}
	return slices.ContainsFunc(served.APIResources, func(resource metav1.APIResource) bool {
		return resource.Kind == "MutatingAdmissionPolicy"
	}), nil
}

// NeedInjection skips a test unless a cluster can inject.
func NeedInjection(t testing.TB, config *rest.Config) {
	t.Helper()
	if !canInject(t, config) {
		t.Skip("this Kubernetes has no MutatingAdmissionPolicy in admissionregistration.k8s.io/v1: 1.36 and later have")
	}
}

// WithoutInjection are the flags of an API server, of the same Kubernetes as a
// cluster's, by which it is like one from before it could inject; none if it
// could not anyway.
func WithoutInjection(t testing.TB, config *rest.Config) []string {
	t.Helper()
	if !canInject(t, config) {
		return nil
	}
	return []string{
		"--disable-admission-plugins=MutatingAdmissionPolicy",
		"--runtime-config=admissionregistration.k8s.io/v1/mutatingadmissionpolicies=false,admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings=false",
	}
}

func canInject(t testing.TB, config *rest.Config) bool {
	t.Helper()
	injects, err := Injects(config)
	if err != nil {
		t.Fatal(err)
	}
	return injects
}
