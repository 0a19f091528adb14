package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// ownCluster starts a cluster for one test, which then acts on it alone. The API
// server has further flags.
func ownCluster(t *testing.T, install func(context.Context, *cluster.Cluster) error, flags ...string) *cluster.Cluster {
	t.Helper()
	own, err := cluster.Start(context.Background(), cluster.Options{Progress: os.Stderr, APIServerArgs: flags})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := install(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	if err := outputs.record(context.Background(), own); err != nil {
		t.Fatal(err)
	}
	api, err := clientFor(own)
	if err != nil {
		t.Fatal(err)
	}
	before := shared.api
	shared.api = api
	t.Cleanup(func() { shared.api = before })
	return own
}

// runOperator runs an operator for one test.
func runOperator(t *testing.T, c *cluster.Cluster, args ...string) *operator.Process {
	t.Helper()
	process, err := startOperator(context.Background(), c, t.TempDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { expectNoLeakOf(t, process) })
	return process
}

// expectNoLeakOf stops an operator and looks for secrets in what it put out.
func expectNoLeakOf(t *testing.T, process *operator.Process) {
	t.Helper()
	_ = process.Stop()
	metrics, err := process.Metrics(context.Background())
	if err != nil {
		t.Errorf("reading the operator's metrics: %v", err)
	}
	for where, text := range map[string]string{"log": process.Log(), "metrics": metrics} {
		if leaks := leaked(text); len(leaks) > 0 {
			t.Errorf("%d parts of secrets stand in the operator's %s", len(leaks), where)
		}
	}
}

func withAllRights(ctx context.Context, c *cluster.Cluster) error {
	return operator.Install(ctx, c.Config(), fence)
}

func withoutRights(ctx context.Context, c *cluster.Cluster) error {
	return operator.InstallWithoutRights(ctx, c.Config(), fence)
}

// A restart with nothing due makes no exchange, of whatever kind, and writes
// nothing, and what was tampered with meanwhile is repaired.
func TestARestartCostsNothing(t *testing.T) {
	own := ownCluster(t, withAllRights)
	trusted(t, own)
	process := runOperator(t, own)
	home, label := namespace(t), unique("label")
	namespaces := []string{namespace(t, label, "yes"), namespace(t, label, "yes"), namespace(t, label, "yes")}
	account := newECRAccount(t)
	made, sources := everySource(t, label, source(t, home, v1alpha1.SecretTypeECR, account.data()))
	expectReady(t, made.Name, 3)
	before := versions(t, namespaces)
	status := get(t, made.Name).ResourceVersion
	asked := exchanges()

	if err := process.Stop(); err != nil {
		t.Fatal(err)
	}
	tampered := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespaces[2], Name: "pull"}}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"stringData":{".dockerconfigjson":"{}"}}`))
	if err := shared.api.Patch(t.Context(), tampered, patch, client.FieldOwner("mallory")); err != nil {
		t.Fatal(err)
	}
	restarted := runOperator(t, own)
	expectSecret(t, namespaces[2], "pull", append(registriesOf(sources), account.host())...)
	expectTargets(t, restarted, made.Name, 3)

	after := versions(t, namespaces)
	for _, name := range namespaces[:2] {
		if before[name] != after[name] {
			t.Errorf("the Secret in %s was written", name)
		}
	}
	if writes := metric(t, restarted, `imagepullsecret_target_writes_total{operation="apply",result="success"}`); writes != 1 {
		t.Errorf("%v writes after the restart, want 1: the tampered Secret", writes)
	}
	expectOneExchange(t, namespaces[2], label, asked)
	if now := get(t, made.Name); now.ResourceVersion != status {
		t.Errorf("the status was written: %+v", now.Status)
	}
}

// expectOneExchange has a login obtained by a single request, so that any that
// was begun before has been counted, too, and checks that there was no other.
func expectOneExchange(t *testing.T, selected, label string, before int) {
	t.Helper()
	witness := federation.Quay(shared.cloud, identity(t), number())
	object(t, "witness", label, witness.Entry)
	expectSecret(t, selected, "witness", witness.Registry)
	if made := exchanges() - before - 1; made != 0 {
		t.Errorf("%d requests to clouds after the restart", made)
	}
}

// expectTargets waits until an operator's own metrics tell of ready targets,
// which a status that an earlier process wrote does not prove.
func expectTargets(t *testing.T, process *operator.Process, name string, ready float64) {
	t.Helper()
	series := fmt.Sprintf(`imagepullsecret_targets{imagepullsecret=%q,state="ready"}`, name)
	eventually(t, series, func() error {
		if got := metric(t, process, series); got != ready {
			return fmt.Errorf("is %v", got)
		}
		return nil
	})
}

// metric returns the value of a series, 0 if there is none.
func metric(t *testing.T, process *operator.Process, series string) float64 {
	t.Helper()
	text, err := process.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(text)
	if match == nil {
		return 0
	}
	value, err := strconv.ParseFloat(match[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func versions(t *testing.T, namespaces []string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range namespaces {
		secret, err := secretIn(t, name, "pull")
		if err != nil {
			t.Fatal(err)
		}
		all[name] = secret.ResourceVersion
	}
	return all
}

// A credential that fails after a restart does not take its logins away.
func TestAnOutageOverARestartTakesNothingAway(t *testing.T) {
	own := ownCluster(t, withAllRights)
	process := runOperator(t, own)
	home, label := namespace(t), unique("label")
	selected := namespace(t, label, "yes")
	account := newECRAccount(t)
	made := object(t, "pull", label, staticSource(t, home, registry), source(t, home, v1alpha1.SecretTypeECR, account.data()))
	expectReady(t, made.Name, 1)
	process.Kill()

	shared.cloud.Fail(fakecloud.ECR, fakecloud.Fault{Kind: fakecloud.ServerError})
	t.Cleanup(shared.cloud.ClearFaults)
	restarted := runOperator(t, own)
	expectTargets(t, restarted, made.Name, 1)
	late := namespace(t, label, "yes")
	expectSecret(t, late, "pull", registry, account.host())
	expectSecret(t, selected, "pull", registry, account.host())
}

// A source that goes while the operator is down does not take its logins away
// either: they are read back from a Secret that was written.
func TestASourceThatGoesWhileTheOperatorIsDownTakesNothingAway(t *testing.T) {
	own := ownCluster(t, withAllRights)
	process := runOperator(t, own)
	home, label := namespace(t), unique("label")
	selected := namespace(t, label, "yes")
	gone, stays := staticSource(t, home, "gone.example.com"), staticSource(t, home, registry)
	made := object(t, "pull", label, gone, stays)
	expectReady(t, made.Name, 1)
	if err := process.Stop(); err != nil {
		t.Fatal(err)
	}
	remove(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: gone.Namespace, Name: gone.Name}})
	restarted := runOperator(t, own)
	expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSourceNotFound)
	expectTargets(t, restarted, made.Name, 1)
	late := namespace(t, label, "yes")
	expectSecret(t, late, "pull", "gone.example.com", registry)
	expectSecret(t, selected, "pull", "gone.example.com", registry)
}

// After a restart the older of two objects that want the same Secret still has
// it, even if it is suspended and so writes nothing.
func TestARestartDoesNotChangeWhoseASecretIs(t *testing.T) {
	own := ownCluster(t, withAllRights)
	process := runOperator(t, own)
	home, label := namespace(t), unique("label")
	selected := namespace(t, label, "yes")
	older := object(t, "pull", label, staticSource(t, home, "older.example.com"))
	expectReady(t, older.Name, 1)
	update(t, older.Name, func(o *v1alpha1.ImagePullSecret) { o.Spec.Suspend = true })
	expectCondition(t, older.Name, v1alpha1.ConditionReady, metav1.ConditionUnknown, v1alpha1.ReasonSuspended)
	waitForNextSecond(t, older)
	younger := newObject("pull", label, staticSource(t, home, "younger.example.com"))
	younger.Name = "a-" + younger.Name // sorts first
	create(t, younger)
	expectCondition(t, younger.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonProvidedByOther)

	for range 3 {
		if err := process.Stop(); err != nil {
			t.Fatal(err)
		}
		process = runOperator(t, own)
		witness := object(t, unique("witness"), label, staticSource(t, home, registry))
		expectReady(t, witness.Name, 1)
		expectSecret(t, selected, "pull", "older.example.com")
	}
}

// Pods that were there before the first object that selects by Pods count, and
// so they do when Pods are watched again after a while.
func TestPodsThatWereThereBeforeCount(t *testing.T) {
	own := ownCluster(t, withAllRights)
	home, label, workload := namespace(t), unique("label"), namespace(t)
	pod(t, workload, metav1.ObjectMeta{Labels: map[string]string{label: "yes"}})
	runOperator(t, own)
	ref := staticSource(t, home, registry)
	for range 3 {
		made := newObject("pull", "", ref)
		made.Spec.Target.NamespacesWithPods.Labels = []metav1.LabelSelector{{MatchLabels: map[string]string{label: "yes"}}}
		create(t, made)
		expectSecret(t, workload, "pull", registry)
		expectReady(t, made.Name, 1)
		remove(t, made)
		eventuallyLong(t, "the Secret goes with its object", func() error {
			if _, err := secretIn(t, workload, "pull"); err == nil {
				return errors.New("it is there")
			}
			return nil
		})
	}
}

// Without its leases the operator gives nothing out, and says why.
func TestLeasesThatMayNotBeReadAreTold(t *testing.T) {
	own := ownCluster(t, withoutRights)
	home, label := namespace(t), unique("label")
	namespace(t, label, "yes")
	ref := staticSource(t, home, registry)
	rules := namedRules("pull", ref.Name)
	grantRules(t, shared.api, "no-leases", append(rules[:5:5], rules[len(rules)-1])...)
	flags := []string{"--target-secret-names=pull", "--pod-selectors=false"}
	process := runOperator(t, own, flags...)
	made := object(t, "pull", label, ref)
	message := expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonLeasesUnavailable)
	if want := "imagepullsecret-operator-leases-0"; !strings.Contains(message, want) {
		t.Errorf("the message lacks %q: %s", want, message)
	}
	grantRules(t, shared.api, "leases", rules...)
	expectReady(t, made.Name, 1)

	// After a restart they hold the key by which logins are known that stand
	// where they were written: what a lost source gave waits for it.
	if err := process.Stop(); err != nil {
		t.Fatal(err)
	}
	remove(t, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "leases"}})
	remove(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name}})
	runOperator(t, own, flags...)
	expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonLeasesUnavailable)
	remove(t, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "leases"}})
	grantRules(t, shared.api, "leases", rules...)
	expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSourceNotFound)
	expectSecret(t, namespace(t, label, "yes"), "pull", registry)
}

// namedRules are all the rights of an operator that keeps Secrets of one name
// and reads one source; nothing else about Secrets.
func namedRules(target, sourceName string) []rbacv1.PolicyRule {
	secrets := func(name string, verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{name}, Verbs: verbs}
	}
	rules := []rbacv1.PolicyRule{
		{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"imagepullsecrets"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"imagepullsecrets/status"}, Verbs: []string{"patch"}},
		{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{"events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}},
		secrets(target, "get", "list", "watch", "create", "patch", "delete"),
	}
	for shard := range 32 {
		rules = append(rules, secrets(fmt.Sprintf("imagepullsecret-operator-leases-%d", shard), "get", "create", "patch"))
	}
	if sourceName != "" {
		rules = append(rules, secrets(sourceName, "get", "list", "watch"))
	}
	return rules
}

// In mode named the operator runs with rights on single names only: the API
// server refuses it every other Secret.
func TestNamedModeNeedsRightsOnNamesOnly(t *testing.T) {
	own := ownCluster(t, withoutRights)
	home, label := namespace(t), unique("label")
	selected := namespace(t, label, "yes")
	account := newECRAccount(t)
	ref := source(t, home, v1alpha1.SecretTypeECR, account.data())
	grantRules(t, shared.api, "named", namedRules("pull", ref.Name)...)
	runOperator(t, own, "--target-secret-names=pull", "--pod-selectors=false")

	made := object(t, "pull", label, ref)
	expectSecret(t, selected, "pull", account.host())
	expectReady(t, made.Name, 1)
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"stringData":{".dockerconfigjson":"{}"}}`))
	if err := shared.api.Patch(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: selected, Name: "pull"}}, patch); err != nil {
		t.Fatal(err)
	}
	expectSecret(t, selected, "pull", account.host())
	relabel(t, selected, label, "no")
	expectNoSecret(t, selected, "pull")

	t.Run("a Pod brings no Secret where that is switched off, whatever the rights", func(t *testing.T) {
		grantRules(t, shared.api, "pods", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list", "watch"}})
		workload, byRule, labels := namespace(t), unique("label"), map[string]string{unique("label"): "yes"}
		pod(t, workload, metav1.ObjectMeta{Labels: labels})
		byPods := newObject("pull", byRule, ref)
		byPods.Spec.Target.NamespacesWithPods.Labels = []metav1.LabelSelector{{MatchLabels: labels}}
		create(t, byPods)
		expectSaying(t, byPods.Name, v1alpha1.ConditionReady, v1alpha1.ReasonInvalidSelector,
			"spec.target.namespacesWithPods is not evaluated", "--pod-selectors=false", "podSelectors.enabled")
		pod(t, workload, metav1.ObjectMeta{Labels: labels})
		expectSecret(t, namespace(t, byRule, "yes"), "pull", account.host()) // its other rules work
		if _, err := secretIn(t, workload, "pull"); !apierrors.IsNotFound(err) {
			t.Errorf("the Secret in the Pods' namespace: %v", err)
		}
	})
	t.Run("another target name becomes a condition with the rule", func(t *testing.T) {
		other := object(t, "elsewhere", label, ref)
		message := expectCondition(t, other.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTargetForbidden)
		for _, want := range []string{"--target-secret-names", "rbac.targetSecretNames", `resourceNames: [elsewhere], verbs: [get, list, watch, create, patch, delete]`} {
			if !strings.Contains(message, want) {
				t.Errorf("the message lacks %q: %s", want, message)
			}
		}
	})
	t.Run("another source becomes a condition with the rule, and works once the rule is there", func(t *testing.T) {
		hidden := staticSource(t, home, registry)
		other := object(t, "pull", unique("label"), hidden)
		message := expectCondition(t, other.Name, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSourceForbidden)
		if want := fmt.Sprintf(`resourceNames: [%s], verbs: [get, list, watch]`, hidden.Name); !strings.Contains(message, want) {
			t.Errorf("the message lacks %q: %s", want, message)
		}
		grantRules(t, shared.api, "hidden", rbacv1.PolicyRule{
			APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{hidden.Name}, Verbs: []string{"get", "list", "watch"},
		})
		eventuallyLong(t, "the source is read", func() error {
			if !meta.IsStatusConditionTrue(get(t, other.Name).Status.Conditions, v1alpha1.ConditionCredentialsReady) {
				return errors.New("not yet")
			}
			return nil
		})
	})
}

// A missing right on targets becomes a condition that prints the rule, and the
// work goes on once the rule is there.
func TestAMissingRightIsNamed(t *testing.T) {
	own := ownCluster(t, withoutRights)
	home, label := namespace(t), unique("label")
	selected := namespace(t, label, "yes")
	ref := staticSource(t, home, registry)
	rules := namedRules("pull", ref.Name)
	rules[4].Verbs = []string{"get", "list", "watch"}
	grantRules(t, shared.api, "reader", rules...)
	runOperator(t, own, "--target-secret-names=pull")

	made := object(t, "pull", label, ref)
	message := expectCondition(t, made.Name, v1alpha1.ConditionTargetsReady, metav1.ConditionFalse, v1alpha1.ReasonTargetForbidden)
	if want := `{apiGroups: [""], resources: [secrets], resourceNames: [pull], verbs: [get, list, watch, create, patch, delete]}`; !strings.Contains(message, want) {
		t.Errorf("the message lacks %q: %s", want, message)
	}
	grantRules(t, shared.api, "writer", rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"pull"}, Verbs: []string{"create", "patch"},
	})
	eventuallyLong(t, "the Secret is written", func() error {
		_, err := secretIn(t, selected, "pull")
		return err
	})
}
