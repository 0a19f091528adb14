package check

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	authorizationv1client "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
)

const metricsText = "# HELP imagepullsecret_build_info x\nimagepullsecret_build_info{commit=\"c\",date=\"d\",version=\"v1\"} 1\n"

// installation answers as the API server and the operator do. What is refused
// is of one resource.
type installation struct {
	kinds, refused string
	metrics        func(http.ResponseWriter)
}

func (i installation) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/version":
		_, _ = w.Write([]byte(`{"gitVersion":"v1.99.0"}`))
	case "/apis/images.banzaicloud.io/v1alpha1":
		_, _ = w.Write([]byte(`{"kind":"APIResourceList","resources":[` + i.kinds + `]}`))
	case "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
		var review authorizationv1.SelfSubjectAccessReview
		_ = json.NewDecoder(r.Body).Decode(&review)
		review.Status.Allowed = review.Spec.ResourceAttributes.Resource != i.refused
		_ = json.NewEncoder(w).Encode(review)
	default:
		i.metrics(w)
	}
}

// problems runs a check, until the operator is asked a second time, and returns
// what is wrong.
func problems(t *testing.T, i installation, change func(*Deps)) []string {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	answer, asked := i.metrics, 0
	i.metrics = func(w http.ResponseWriter) {
		if asked++; asked > 1 {
			cancel(errors.New("no time left"))
		}
		answer(w)
	}
	server := httptest.NewServer(i)
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: runtime.ContentTypeJSON}}
	d := Deps{
		Server:  discovery.NewDiscoveryClientForConfigOrDie(config),
		Reviews: authorizationv1client.NewForConfigOrDie(config).SelfSubjectAccessReviews(),
		HTTP:    server.Client(), MetricsURL: server.URL + "/metrics", Version: "v1", Namespace: "home", ServiceAccounts: true,
	}
	if change != nil {
		change(&d)
	}
	var wrong []string
	for _, finding := range Run(ctx, d) {
		if finding.Problem != nil {
			wrong = append(wrong, finding.String())
		}
	}
	return wrong
}

func TestACheckFindsWhatIsWrong(t *testing.T) {
	const kind = `{"name":"imagepullsecrets","kind":"ImagePullSecret"}`
	working := func(w http.ResponseWriter) { _, _ = w.Write([]byte(metricsText)) }
	for sentence, test := range map[string]struct {
		installation installation
		change       func(*Deps)
		want         []string // parts of what is wrong, in this order
	}{
		"nothing":            {installation: installation{kind, "", working}},
		"the CRD":            {installation{`{"name":"others","kind":"Other"}`, "", working}, nil, []string{"served without it"}},
		"rights on the kind": {installation{kind, "imagepullsecrets", working}, nil, []string{"watch imagepullsecrets: is missing", "patch imagepullsecrets/status: is missing"}},
		"the rights on Secrets, of these names": {
			installation{kind, "secrets", working}, func(d *Deps) { d.TargetNames = []string{"pull"} },
			[]string{
				"patch secrets named imagepullsecret-operator-leases-0 in namespace home", "watch secrets named pull",
				"create secrets named pull", "patch secrets named pull", "delete secrets named pull",
			},
		},
		"the rights in these namespaces": {
			installation{kind, "serviceaccounts", working}, func(d *Deps) { d.Namespaces = []string{"a", "b"} },
			[]string{"patch serviceaccounts in namespace a: is missing", "patch serviceaccounts in namespace b: is missing"},
		},
		"no right that is not needed": {installation{kind, "serviceaccounts", working}, func(d *Deps) { d.ServiceAccounts = false }, nil},
		"another version":             {installation{kind, "", working}, func(d *Deps) { d.Version = "v2" }, []string{"it is version v1 and not v2"}},
		"somebody else answers": {
			installation{kind, "", func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) }}, nil,
			[]string{"is not the operator's metrics\nno time left"},
		},
		"nobody is ready": {
			installation{kind, "", func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }}, nil,
			[]string{"503 Service Unavailable is not the operator's metrics"},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := problems(t, test.installation, test.change)
			if !slices.EqualFunc(got, test.want, strings.Contains) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
