package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/federation"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// bounded is a cluster whose operator holds the rights of RBAC mode namespaces,
// as the chart renders them, in two namespaces. All but home have a label.
type bounded struct {
	*cluster.Cluster
	label                  string
	first, second, foreign string
	source                 v1alpha1.CredentialSource // in home
	flags                  []string
}

// newBounded makes one; values are further ones for the chart, of which further
// templates make roles.
func newBounded(t *testing.T, values string, templates ...string) *bounded {
	t.Helper()
	b := &bounded{Cluster: ownCluster(t, withoutRights), label: unique("label")}
	b.first, b.second, b.foreign = namespace(t, b.label, "yes"), namespace(t, b.label, "yes"), namespace(t, b.label, "yes")
	b.source = v1alpha1.CredentialSource{Namespace: namespace(t), Name: "source"}
	makeSource(t, b.source, registry)
	b.grant(t, fmt.Sprintf("{rbac: {mode: namespaces, namespaces: [%s, %s], sources: [{namespace: %s, names: [source]}]}%s}",
		b.first, b.second, b.source.Namespace, values), templates...)
	b.flags = []string{"--watch-namespaces=" + b.first + "," + b.second, "--pod-selector-grace=1s"}
	return b
}

// grant applies the roles that the chart makes of values, and nothing else of it.
func (b *bounded) grant(t *testing.T, values string, templates ...string) {
	t.Helper()
	if out, err := exec.Command("make", "-s", "-C", operator.Root(), "bin/helm").CombinedOutput(); err != nil {
		t.Fatalf("building bin/helm: %v\n%s", err, out)
	}
	args := []string{"template", operator.ServiceAccount, filepath.Join(operator.Root(), "charts", "imagepullsecret-operator"),
		"--namespace", operator.Namespace, "--values", "-"}
	for _, template := range append(templates, "rbac.yaml") {
		args = append(args, "--show-only", "templates/"+template)
	}
	command := exec.Command(filepath.Join(operator.Root(), "bin", "helm"), args...)
	command.Stdin, command.Stderr = strings.NewReader(values), os.Stderr
	rendered, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := operator.Apply(t.Context(), shared.api, rendered); err != nil {
		t.Fatal(err)
	}
}

// operatorsClient is a client with the operator's rights.
func (b *bounded) operatorsClient(t *testing.T) client.Client {
	t.Helper()
	kubeconfig, err := b.ServiceAccountKubeconfig(t.Context(), operator.Namespace, operator.ServiceAccount)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	made, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// In mode namespaces the operator does all of its work in the listed namespaces
// with Roles there, is refused everything elsewhere, does not try it, and says
// what it leaves out.
func TestNamespacesModeNeedsRightsInTheListedNamespacesOnly(t *testing.T) {
	b := newBounded(t, ", annotatedServiceAccounts: {enabled: true}", "annotated.yaml")
	trusted(t, b.Cluster)
	for sentence, c := range map[string]struct {
		namespace string
		allowed   bool
	}{
		"a listed namespace": {b.first, true}, "another one": {b.foreign, false}, "the cluster": {"", false},
	} {
		err := b.operatorsClient(t).List(t.Context(), &corev1.SecretList{}, client.InNamespace(c.namespace))
		if apierrors.IsForbidden(err) == c.allowed || (c.allowed && err != nil) {
			t.Errorf("listing Secrets of %s: %v", sentence, err)
		}
	}
	b.flags = append(b.flags, "--annotated-service-accounts")
	process := runOperator(t, b.Cluster, b.flags...)
	made := newObject("pull", b.label, b.source)
	made.Spec.Target.ServiceAccounts = accountsNamed("default")
	made.Spec.Target.Pods = v1alpha1.PodsNone // or no Pod would be stuck
	for _, name := range []string{b.first, b.second, b.foreign} {
		awaitAccount(t, name)
	}
	create(t, made)

	t.Run("Secrets", func(t *testing.T) { b.secrets(t, made.Name) })
	t.Run("ServiceAccounts", func(t *testing.T) { b.accounts(t, made.Name) })
	t.Run("Pods that select", func(t *testing.T) { b.selectingPods(t) })
	t.Run("Pods that can't pull", func(t *testing.T) { b.stuckPods(t) })
	t.Run("annotated ServiceAccounts", func(t *testing.T) { b.annotatedAccounts(t) })
	expectNothingRefused(t, process)
	t.Run("a restart", func(t *testing.T) { b.restart(t, process, made.Name) })
}

// expectNothingRefused checks that the API server refused no request of the
// operator, which counts them all.
func expectNothingRefused(t *testing.T, process *operator.Process) {
	t.Helper()
	counted, err := process.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	answered := false
	for line := range strings.Lines(counted) {
		if strings.HasPrefix(line, "rest_client_requests_total{") {
			answered = true
			if strings.Contains(line, `code="403"`) {
				t.Errorf("it tries what it may not: %s", line)
			}
		}
	}
	if !answered {
		t.Error("its metrics count no requests")
	}
}

func (b *bounded) secrets(t *testing.T, name string) {
	expectSecret(t, b.first, "pull", registry)
	expectSecret(t, b.second, "pull", registry)
	const told = "1 of 3 selected namespaces are out of this operator's reach and get nothing: "
	for _, condition := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionTargetsReady} {
		expectSaying(t, name, condition, v1alpha1.ReasonOutOfReach, told+b.foreign, "--watch-namespaces", "rbac.namespaces")
	}
	expectWarning(t, name, v1alpha1.ReasonOutOfReach, told)
	if targets := get(t, name).Status.Targets; targets != (v1alpha1.TargetCounts{Selected: 2, Ready: 2}) {
		t.Errorf("the targets are %+v", targets)
	}
	// One more comes, and goes.
	another := create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: unique("z"), Labels: pairs([]string{b.label, "yes"})}})
	eventually(t, "both are told of", func() error {
		return sayingNow(t, name, fmt.Sprintf("2 of 4 selected namespaces are out of this operator's reach and get nothing: %s, %s;", b.foreign, another.Name))
	})
	relabel(t, another.Name, b.label, "no")
	relabel(t, b.foreign, b.label, "no")
	expectReady(t, name, 2)
	relabel(t, b.foreign, b.label, "yes")
	expectSaying(t, name, v1alpha1.ConditionReady, v1alpha1.ReasonOutOfReach, told+b.foreign)
	// A Secret that is tampered with is repaired, one that is not wanted goes.
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"stringData":{".dockerconfigjson":"{}"}}`))
	if err := shared.api.Patch(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.first, Name: "pull"}}, patch); err != nil {
		t.Fatal(err)
	}
	expectSecret(t, b.first, "pull", registry)
	relabel(t, b.second, b.label, "no")
	expectNoSecret(t, b.second, "pull")
	relabel(t, b.second, b.label, "yes")
	expectSecret(t, b.second, "pull", registry)
	if _, err := secretIn(t, b.foreign, "pull"); !apierrors.IsNotFound(err) {
		t.Errorf("the Secret of the namespace that is not listed: %v", err)
	}
}

// sayingNow checks what an object's condition Ready says.
func sayingNow(t *testing.T, name, words string) error {
	t.Helper()
	for _, condition := range get(t, name).Status.Conditions {
		if condition.Type == v1alpha1.ConditionReady && strings.Contains(condition.Message, words) {
			return nil
		}
	}
	return fmt.Errorf("it does not say %q: %+v", words, get(t, name).Status.Conditions)
}

func (b *bounded) accounts(t *testing.T, name string) {
	for _, namespace := range []string{b.first, b.second} {
		expectAttached(t, client.ObjectKey{Namespace: namespace, Name: "default"}, "pull", "pull")
	}
	expectAccounts(t, name, v1alpha1.ServiceAccountCounts{Selected: 2, Attached: 2})
	expectAttached(t, client.ObjectKey{Namespace: b.foreign, Name: "default"}, "")
}

// selectingPods has Pods select their namespaces, which they do in those that
// are listed.
func (b *bounded) selectingPods(t *testing.T) {
	labels := map[string]string{unique("label"): "yes"}
	selecting := newObject(unique("pull"), "", b.source)
	selecting.Spec.Target.NamespacesWithPods.Labels = []metav1.LabelSelector{{MatchLabels: labels}}
	create(t, selecting)
	pod(t, b.foreign, metav1.ObjectMeta{Labels: labels})
	there := pod(t, b.second, metav1.ObjectMeta{Labels: labels})
	expectSecret(t, b.second, secretNameOf(selecting), registry)
	expectReady(t, selecting.Name, 1)
	if _, err := secretIn(t, b.foreign, secretNameOf(selecting)); !apierrors.IsNotFound(err) {
		t.Errorf("the Secret of the namespace that is not listed: %v", err)
	}
	remove(t, there)
	expectNoSecret(t, b.second, secretNameOf(selecting))
}

// stuckPods has Pods fail that came too early; those in listed namespaces are
// evicted.
func (b *bounded) stuckPods(t *testing.T) {
	label := unique("label")
	relabel(t, b.second, label, "yes")
	relabel(t, b.foreign, label, "yes")
	recovering := newObject(unique("pull"), label, b.source)
	recovering.Spec.Target.Pods = v1alpha1.PodsNone
	create(t, recovering)
	expectSecret(t, b.second, secretNameOf(recovering), registry)
	var stuck []*corev1.Pod
	for _, namespace := range []string{b.foreign, b.second} {
		m := &team{namespace: namespace, registry: registry, node: unique("node")}
		create(t, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: m.node}})
		// One that carries no other name of ours.
		account := account(t, namespace, nil)
		spec := m.spec()
		spec.ServiceAccountName = account.Name
		pod := m.deploy(t, spec)
		setListed(t, namespace, account.Name, secretNameOf(recovering))
		failPull(t, pod, "app")
		stuck = append(stuck, pod)
	}
	expectEvictedFor(t, stuck[1], secretNameOf(recovering))
	stays := &corev1.Pod{}
	if err := shared.api.Get(t.Context(), client.ObjectKeyFromObject(stuck[0]), stays); err != nil || !stays.DeletionTimestamp.IsZero() {
		t.Errorf("the Pod of the namespace that is not listed: deleted at %v, %v", stays.DeletionTimestamp, err)
	}
}

// annotatedAccounts has ServiceAccounts ask; those of other namespaces are not
// seen.
func (b *bounded) annotatedAccounts(t *testing.T) {
	var asking federation.Identity
	for _, namespace := range []string{b.foreign, b.first} {
		asking = federation.Identity{Issuer: b.Issuer(), Namespace: namespace, Name: "app"}
		create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: asking.Name}})
		annotateAccount(t, asking, forRole(federation.ECR(shared.cloud, asking, number())))
	}
	eventually(t, "the Secret of the annotated ServiceAccount", func() error {
		_, err := secretIn(t, b.first, "imagepullsecret-app")
		return err
	})
	expectListed(t, asking, "imagepullsecret-app")
	if _, err := secretIn(t, b.foreign, "imagepullsecret-app"); !apierrors.IsNotFound(err) {
		t.Errorf("the Secret of the namespace that is not listed: %v", err)
	}
}

// restart has another process take over, which finds nothing to write.
func (b *bounded) restart(t *testing.T, process *operator.Process, name string) {
	if err := process.Stop(); err != nil {
		t.Fatal(err)
	}
	secrets, status := versions(t, []string{b.first, b.second}), get(t, name).ResourceVersion
	restarted := runOperator(t, b.Cluster, b.flags...)
	expectTargets(t, restarted, name, 2)
	witness := object(t, unique("witness"), b.label, b.source)
	expectCondition(t, witness.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonOutOfReach)
	expectTargets(t, restarted, witness.Name, 2)
	for namespace, version := range versions(t, []string{b.first, b.second}) {
		if secrets[namespace] != version {
			t.Errorf("the Secret in %s was written", namespace)
		}
	}
	if writes := metric(t, restarted, `imagepullsecret_target_writes_total{operation="apply",result="success"}`); writes != 2 {
		t.Errorf("%v writes after the restart, want the two of the witness", writes)
	}
	if now := get(t, name); now.ResourceVersion != status {
		t.Errorf("the status was written: %+v", now.Status)
	}
}

// A namespace without its Role holds up none of the others, not even at the
// start, and becomes a condition that prints the rule. The work goes on there
// once the Role is back.
func TestNamespacesModeTellsOfARoleThatIsMissing(t *testing.T) {
	b := newBounded(t, "")
	process := runOperator(t, b.Cluster, b.flags...)
	relabel(t, b.foreign, b.label, "no")
	made := newObject("pull", b.label, b.source)
	made.Spec.Target.ServiceAccounts = accountsNamed("default")
	create(t, made)
	expectReady(t, made.Name, 2)
	expectAccounts(t, made.Name, v1alpha1.ServiceAccountCounts{Selected: 2, Attached: 2})

	binding := b.unbind(t)
	remove(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.second, Name: "pull"}})
	rule := fmt.Sprintf("add to a Role in namespace %s of its ServiceAccount the rule "+
		`{apiGroups: [""], resources: [secrets], verbs: [get, list, watch, create, patch, delete]}`, b.second)
	expectSaying(t, made.Name, v1alpha1.ConditionTargetsReady, v1alpha1.ReasonTargetForbidden, "1 of 2 namespaces fail; "+b.second, rule)

	if err := process.Stop(); err != nil {
		t.Fatal(err)
	}
	runOperator(t, b.Cluster, b.flags...)
	later := newObject("later", b.label, b.source)
	later.Spec.Target.ServiceAccounts = accountsNamed("default")
	create(t, later)
	expectSecret(t, b.first, "later", registry)
	expectAttached(t, client.ObjectKey{Namespace: b.first, Name: "default"}, "later,pull", "pull", "later")
	expectSaying(t, later.Name, v1alpha1.ConditionTargetsReady, v1alpha1.ReasonTargetForbidden, "1 of 2 namespaces fail; "+b.second, rule)
	// A Secret that is not wanted any more waits there.
	relabel(t, b.second, b.label, "no")
	expectReady(t, later.Name, 1)
	relabel(t, b.second, b.label, "yes")

	binding.ResourceVersion, binding.UID = "", ""
	create(t, binding)
	eventuallyLong(t, "everything stands and is attached", func() error {
		for _, name := range []string{made.Name, later.Name} {
			status := get(t, name).Status
			if status.ServiceAccounts != (v1alpha1.ServiceAccountCounts{Selected: 2, Attached: 2}) || status.Targets.Ready != 2 {
				return fmt.Errorf("the status of %s is %+v", name, status)
			}
		}
		return nil
	})
}

// unbind takes the operator's rights in the second namespace away, and returns
// the binding that gave them.
func (b *bounded) unbind(t *testing.T) *rbacv1.RoleBinding {
	t.Helper()
	binding := &rbacv1.RoleBinding{}
	key := client.ObjectKey{Namespace: b.second, Name: operator.ServiceAccount + "-targets"}
	if err := shared.api.Get(t.Context(), key, binding); err != nil {
		t.Fatal(err)
	}
	remove(t, binding.DeepCopy())
	eventually(t, "the right is gone", func() error {
		if err := b.operatorsClient(t).List(t.Context(), &corev1.SecretList{}, client.InNamespace(b.second)); !apierrors.IsForbidden(err) {
			return errors.New("it is not refused")
		}
		return nil
	})
	return binding
}

// What stands in a namespace that has left the list stays as it is, and one that
// is listed and not there is no failure.
func TestNamespacesModeLeavesAloneWhatIsNotListed(t *testing.T) {
	b := newBounded(t, "")
	process := runOperator(t, b.Cluster, b.flags...)
	relabel(t, b.foreign, b.label, "no")
	made := object(t, "pull", b.label, b.source)
	expectReady(t, made.Name, 2)
	before := versions(t, []string{b.second})
	if err := process.Stop(); err != nil {
		t.Fatal(err)
	}

	bound := runOperator(t, b.Cluster, "--watch-namespaces="+b.first)
	expectSaying(t, made.Name, v1alpha1.ConditionReady, v1alpha1.ReasonOutOfReach, "1 of 2 selected namespaces", b.second)
	relabel(t, b.second, b.label, "no")
	expectReady(t, made.Name, 1)
	if after := versions(t, []string{b.second}); after[b.second] != before[b.second] {
		t.Error("the Secret of the namespace that has left the list was written")
	}
	if err := bound.Stop(); err != nil {
		t.Fatal(err)
	}

	remove(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.second}})
	eventuallyLong(t, "the namespace is gone", func() error {
		if err := shared.api.Get(t.Context(), client.ObjectKey{Name: b.second}, &corev1.Namespace{}); !apierrors.IsNotFound(err) {
			return errors.New("it is there")
		}
		return nil
	})
	runOperator(t, b.Cluster, b.flags...)
	last := newObject("last", b.label, b.source)
	last.Spec.Target.ServiceAccounts = accountsNamed("default")
	last.Spec.Target.NamespacesWithPods.Labels = []metav1.LabelSelector{{MatchLabels: map[string]string{"none": "has"}}}
	create(t, last)
	expectReady(t, last.Name, 1)
	expectAccounts(t, last.Name, v1alpha1.ServiceAccountCounts{Selected: 1, Attached: 1})
}
