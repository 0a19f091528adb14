// Package check finds out whether an installation works, with the eyes and the
// rights of the operator's ServiceAccount. It changes nothing.
package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	authorizationv1client "k8s.io/client-go/kubernetes/typed/authorization/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/kube"
)

// Deps are what a check needs. All are required but TargetNames and Namespaces.
type Deps struct {
	Server  discovery.DiscoveryInterface
	Reviews authorizationv1client.SelfSubjectAccessReviewInterface
	HTTP    *http.Client
	// MetricsURL is where the operator serves its metrics, and Version the one
	// that it is to run.
	MetricsURL, Version string
	// Namespace is the operator's own.
	Namespace string
	// TargetNames are the only names of Secrets that it keeps; empty for any.
	TargetNames []string
	// Namespaces are the only ones where it works; empty for any.
	Namespaces []string
	// ServiceAccounts tells whether it attaches Secrets to ServiceAccounts.
	ServiceAccounts bool
}

// Finding is what was looked at, and what is wrong with it; nil if nothing is.
type Finding struct {
	What    string
	Problem error
}

// String is a line for people.
func (f Finding) String() string {
	if f.Problem != nil {
		return fmt.Sprintf("FAIL  %s: %v", f.What, f.Problem)
	}
	return "ok    " + f.What
}

// Run looks at everything, whatever fails. The operator may need until ctx ends
// to answer.
func Run(ctx context.Context, d Deps) []Finding {
	findings := []Finding{d.server(), d.kind()}
	for _, right := range d.rights() {
		findings = append(findings, d.right(ctx, right))
	}
	return append(findings, d.operator(ctx))
}

// server looks at the API server.
func (d Deps) server() Finding {
	found, err := d.Server.ServerVersion()
	if err != nil {
		return Finding{"the API server answers", err}
	}
	return Finding{What: "the API server answers: Kubernetes " + found.GitVersion}
}

// kind looks for the CRD, as far as others see it.
func (d Deps) kind() Finding {
	group := v1alpha1.GroupVersion.String()
	what := fmt.Sprintf("%s is served in %s", v1alpha1.Kind, group)
	resources, err := d.Server.ServerResourcesForGroupVersion(group)
	if err != nil {
		return Finding{what, err}
	}
	if !slices.ContainsFunc(resources.APIResources, func(r metav1.APIResource) bool { return r.Kind == v1alpha1.Kind }) {
		return Finding{what, errors.New("the group is served without it")}
	}
	return Finding{What: what}
}

// rights are what the operator can't do without, one verb of each rule.
func (d Deps) rights() []authorizationv1.ResourceAttributes {
	rights := []authorizationv1.ResourceAttributes{
		{Group: v1alpha1.GroupVersion.Group, Resource: "imagepullsecrets", Verb: "watch"},
		{Group: v1alpha1.GroupVersion.Group, Resource: "imagepullsecrets", Subresource: "status", Verb: "patch"},
		{Resource: "namespaces", Verb: "watch"},
		{Resource: "secrets", Verb: "patch", Namespace: d.Namespace, Name: kube.LeaseSecrets()[0]},
	}
	for _, namespace := range anyIfNone(d.Namespaces) {
		for _, name := range anyIfNone(d.TargetNames) {
			for _, verb := range []string{"watch", "create", "patch", "delete"} {
				rights = append(rights, authorizationv1.ResourceAttributes{Resource: "secrets", Verb: verb, Name: name, Namespace: namespace})
			}
		}
		if d.ServiceAccounts {
			rights = append(rights, authorizationv1.ResourceAttributes{Resource: "serviceaccounts", Verb: "patch", Namespace: namespace})
		}
	}
	return rights
}

// anyIfNone returns what a right is asked for, where none stands for any.
func anyIfNone(listed []string) []string {
	if len(listed) == 0 {
		return []string{""}
	}
	return listed
}

// right asks the API server for one right.
func (d Deps) right(ctx context.Context, right authorizationv1.ResourceAttributes) Finding {
	what := "the right to " + right.Verb + " " + right.Resource
	if right.Subresource != "" {
		what += "/" + right.Subresource
	}
	if right.Name != "" {
		what += " named " + right.Name
	}
	if right.Namespace != "" {
		what += " in namespace " + right.Namespace
	}
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &right}}
	answer, err := d.Reviews.Create(ctx, review, metav1.CreateOptions{})
	if err == nil && !answer.Status.Allowed {
		err = errors.New("is missing")
	}
	return Finding{what, err}
}

const (
	// pollInterval is the time between two questions to the operator.
	pollInterval = time.Second
	// longestAnswer is as much of its metrics as is read.
	longestAnswer = 16 << 20
)

var buildInfo = regexp.MustCompile(`(?m)^imagepullsecret_build_info\{.*version="([^"]*)"`)

// operator looks for a process that is ready: a Service names no other.
func (d Deps) operator(ctx context.Context) Finding {
	what := "the operator answers at " + d.MetricsURL
	var found string
	var last error
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		answer, err := d.metrics(ctx)
		if err == nil || last == nil || ctx.Err() == nil {
			found, last = answer, err
		}
		return err == nil, nil
	})
	if err != nil {
		return Finding{what, errors.Join(last, context.Cause(ctx))}
	}
	if found != d.Version {
		return Finding{what, fmt.Errorf("it is version %s and not %s: has the Deployment been rolled out?", found, d.Version)}
	}
	return Finding{What: what + ": version " + found}
}

// metrics returns the version that the operator's metrics tell.
func (d Deps) metrics(ctx context.Context) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.MetricsURL, nil)
	if err != nil {
		return "", err
	}
	response, err := d.HTTP.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, longestAnswer))
	if err != nil {
		return "", err
	}
	match := buildInfo.FindSubmatch(body)
	if response.StatusCode != http.StatusOK || match == nil {
		return "", fmt.Errorf("answer %s is not the operator's metrics", response.Status)
	}
	return string(match[1]), nil
}
