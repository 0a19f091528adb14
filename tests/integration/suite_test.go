// Package integration shows the built operator at work against a real API
// server and controller manager, and the fake cloud, as a user would see it.
package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// The suite's cluster, cloud and operator, which most tests share. Each test
// makes objects and namespaces of its own.
var (
	shared struct {
		cluster *cluster.Cluster
		cloud   *fakecloud.Cloud
		binary  string
		api     client.Client
	}
	mainOperator *operator.Process
)

// fence is what the tests need beyond the fence's defaults: the audiences of
// their servers, the API server's own, which the operator is to find out about by
// itself, and what is off unless asked for.
var fence = operator.Fence{
	Audiences: append(federation.Audiences(), "https://kubernetes.default.svc",
		"*other.example.com", "another", "https://another.example", "api://other", "index.docker.io", "quay.nowhere.example"),
	AnnotatedNames: []string{"pull-secret"}, AllowReplacing: true,
}

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard()) // of the tests' own clients
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration tests:", err)
		code = 1
	}
	os.Exit(code)
}

func runSuite(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	directory, err := os.MkdirTemp("", "integration-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(directory)) }()
	if shared.cluster, err = cluster.Start(ctx, cluster.Options{Progress: os.Stderr}); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, shared.cluster.Stop()) }()
	if shared.cloud, err = fakecloud.Start(ctx, fakecloud.Options{}); err != nil {
		return 1, err
	}
	defer shared.cloud.Stop()
	if err := federation.TrustCluster(shared.cloud, shared.cluster); err != nil {
		return 1, err
	}
	// The coverage of the process is written where GOCOVERDIR says, if set.
	if shared.binary, err = operator.Build(ctx, directory, "-cover", "-coverpkg=./..."); err != nil {
		return 1, err
	}
	if err := operator.Install(ctx, shared.cluster.Config(), fence); err != nil {
		return 1, err
	}
	if err := outputs.record(ctx, shared.cluster); err != nil {
		return 1, err
	}
	if shared.api, err = newClient(); err != nil {
		return 1, err
	}
	injects, err := operator.Injects(shared.cluster.Config())
	if err != nil {
		return 1, err
	}
	args := []string{"--pod-selector-grace=1s", fmt.Sprintf("--pod-injection=%t", injects)}
	if mainOperator, err = startOperator(ctx, shared.cluster, directory, args...); err != nil {
		return 1, err
	}
	code = m.Run()
	metrics, err := mainOperator.Metrics(ctx)
	return code, errors.Join(err, mainOperator.Stop(), searchOutput(mainOperator.Log(), metrics))
}

// searchOutput looks for secrets in everything that the run put out.
func searchOutput(log, metrics string) error {
	seen, err := outputs.text()
	for where, text := range map[string]string{"the operator's log": log, "its metrics": metrics, "the clusters": seen} {
		if text == "" {
			err = errors.Join(err, fmt.Errorf("nothing was found in %s", where))
		}
		if leaks := leaked(text); len(leaks) > 0 {
			err = errors.Join(err, fmt.Errorf("%d parts of secrets stand in %s: %s", len(leaks), where, placesOf(text, leaks)))
		}
	}
	return err
}

// startOperator runs the operator on a cluster, with the rights that are
// granted to its ServiceAccount there.
func startOperator(ctx context.Context, c *cluster.Cluster, directory string, args ...string) (*operator.Process, error) {
	kubeconfig, err := c.ServiceAccountKubeconfig(ctx, operator.Namespace, operator.ServiceAccount)
	if err != nil {
		return nil, err
	}
	env := shared.cloud.Env()
	if covered := os.Getenv("GOCOVERDIR"); covered != "" {
		env = append(env, "GOCOVERDIR="+covered)
	} else {
		coverage := filepath.Join(directory, "coverage")
		_ = os.MkdirAll(coverage, 0o700)
		env = append(env, "GOCOVERDIR="+coverage)
	}
	options := operator.Options{Binary: shared.binary, Kubeconfig: kubeconfig, Args: append([]string{"--log-level=debug"}, args...), Env: env}
	return operator.Start(ctx, options)
}

func newClient() (client.Client, error) { return clientFor(shared.cluster) }

func clientFor(c *cluster.Cluster) (client.Client, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	return client.New(c.Config(), client.Options{Scheme: scheme})
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme))
}

// Deadlines of waiting: generous, for a busy machine. Nothing is asserted on
// how long things take.
const (
	patience = time.Minute
	pollTime = 20 * time.Millisecond
)

// eventually waits until check returns nil.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	waitFor(t, what, patience, check)
}

func waitFor(t *testing.T, what string, limit time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	poll := time.NewTicker(pollTime)
	defer poll.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		<-poll.C
	}
}

var counter atomic.Int64

// unique makes a name that no other test uses.
func unique(prefix string) string { return fmt.Sprintf("%s-%d", prefix, counter.Add(1)) }

// create makes an object, and deletes it after the test.
func create[T client.Object](t *testing.T, object T) T {
	t.Helper()
	if err := shared.api.Create(t.Context(), object); err != nil {
		t.Fatalf("creating %T %s: %v", object, object.GetName(), err)
	}
	t.Cleanup(func() { _ = shared.api.Delete(context.Background(), object) })
	return object
}

// namespace makes a namespace; labels are pairs of key and value.
func namespace(t *testing.T, labels ...string) string {
	t.Helper()
	return create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: unique("ns"), Labels: pairs(labels)}}).Name
}

func pairs(values []string) map[string]string {
	made := map[string]string{}
	for i := 0; i+1 < len(values); i += 2 {
		made[values[i]] = values[i+1]
	}
	return made
}

// secretIn reads a Secret.
func secretIn(t *testing.T, namespace, name string) (*corev1.Secret, error) {
	t.Helper()
	secret := &corev1.Secret{}
	err := shared.api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, secret)
	return secret, err
}

// expectSecret waits until a Secret holds logins for exactly these registries.
func expectSecret(t *testing.T, namespace, name string, registries ...string) *corev1.Secret {
	t.Helper()
	var secret *corev1.Secret
	eventually(t, fmt.Sprintf("Secret %s/%s for %v", namespace, name, registries), func() (err error) {
		if secret, err = secretIn(t, namespace, name); err != nil {
			return err
		}
		return sameRegistries(secret, registries)
	})
	return secret
}

// expectNoSecret waits until there is no Secret of a name.
func expectNoSecret(t *testing.T, namespace, name string) {
	t.Helper()
	eventuallyLong(t, fmt.Sprintf("no Secret %s/%s", namespace, name), func() error { // the garbage collector takes its time with a new CRD
		_, err := secretIn(t, namespace, name)
		switch {
		case err == nil:
			return errors.New("it is there")
		case apierrors.IsNotFound(err):
			return nil
		default:
			return err
		}
	})
}

// expectCondition waits until an object's condition has a status and a reason
// for its current generation, and returns its message.
func expectCondition(t *testing.T, name, condition string, status metav1.ConditionStatus, reason string) string {
	t.Helper()
	var message string
	eventually(t, fmt.Sprintf("%s %s=%s (%s)", name, condition, status, reason), func() error {
		object := get(t, name)
		found := meta.FindStatusCondition(object.Status.Conditions, condition)
		switch {
		case found == nil:
			return errors.New("no such condition")
		case found.Status != status || found.Reason != reason || found.ObservedGeneration != object.Generation:
			return fmt.Errorf("is %s (%s): %s", found.Status, found.Reason, found.Message)
		}
		message = found.Message
		return nil
	})
	return message
}

// expectReady waits until an object is ready with a number of namespaces.
func expectReady(t *testing.T, name string, namespaces int32) {
	t.Helper()
	eventually(t, name+" ready", func() error {
		object := get(t, name)
		if !meta.IsStatusConditionTrue(object.Status.Conditions, v1alpha1.ConditionReady) || object.Status.Targets.Ready != namespaces {
			return fmt.Errorf("status is %+v", object.Status)
		}
		return nil
	})
}

func get(t *testing.T, name string) *v1alpha1.ImagePullSecret {
	t.Helper()
	object := &v1alpha1.ImagePullSecret{}
	if err := shared.api.Get(t.Context(), client.ObjectKey{Name: name}, object); err != nil {
		t.Fatal(err)
	}
	return object
}

// update changes an object's spec.
func update(t *testing.T, name string, change func(*v1alpha1.ImagePullSecret)) {
	t.Helper()
	object := get(t, name)
	before := object.DeepCopy()
	change(object)
	if err := shared.api.Patch(t.Context(), object, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

// expectEvent waits until an event about an object has a reason.
func expectEvent(t *testing.T, name, reason string) eventsv1.Event {
	t.Helper()
	var found eventsv1.Event
	eventually(t, fmt.Sprintf("event %s about %s", reason, name), func() error {
		var list eventsv1.EventList
		if err := shared.api.List(t.Context(), &list); err != nil {
			return err
		}
		for _, event := range list.Items {
			if event.Regarding.Name == name && event.Regarding.Kind == v1alpha1.Kind && event.Reason == reason {
				found = event
				return nil
			}
		}
		return errors.New("there is none")
	})
	return found
}

// grantRules gives the operator's ServiceAccount of a cluster more rights.
func grantRules(t *testing.T, api client.Client, name string, rules ...rbacv1.PolicyRule) {
	t.Helper()
	grantRulesTo(t, api, operator.ServiceAccount, name, rules...)
}

// grantRulesTo is grantRules for a ServiceAccount of the operator's namespace.
func grantRulesTo(t *testing.T, api client.Client, account, name string, rules ...rbacv1.PolicyRule) {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: operator.Namespace, Name: account}},
	}
	for _, object := range []client.Object{role, binding} {
		if err := api.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// eventuallyLong waits for what the product itself retries once in a minute.
func eventuallyLong(t *testing.T, what string, check func() error) {
	t.Helper()
	waitFor(t, what, 3*patience, check)
}
