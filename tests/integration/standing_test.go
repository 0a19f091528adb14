package integration

import (
	"context"
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
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// withRights makes the ServiceAccount that a subcommand keeps from the system
// that it replaces, so that the operator's fence is not about it, with rules.
func withRights(t *testing.T, subcommand string, rules ...rbacv1.PolicyRule) {
	t.Helper()
	create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: subcommand}})
	grantRulesTo(t, shared.api, subcommand, subcommand, rules...)
}

// runSubcommand runs a subcommand, whose ServiceAccount withRights made, for one
// test.
func runSubcommand(t *testing.T, c *cluster.Cluster, subcommand string, env []string, args ...string) *operator.Process {
	t.Helper()
	process, err := operator.Start(context.Background(), operator.Options{
		Binary: shared.binary, Kubeconfig: kubeconfigOf(t, c, subcommand), Subcommand: subcommand, Args: args,
		Env: append(append(shared.cloud.Env(), "GOCOVERDIR="+t.TempDir()), env...),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { expectNoLeakOf(t, process) })
	return process
}

func kubeconfigOf(t *testing.T, c *cluster.Cluster, subcommand string) string {
	t.Helper()
	account := subcommand
	if subcommand == "manager" {
		account = operator.ServiceAccount
	}
	kubeconfig, err := c.ServiceAccountKubeconfig(t.Context(), operator.Namespace, account)
	if err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

// runToEnd runs a subcommand until it ends by itself, and returns whether it
// ended well and what it put out.
func runToEnd(t *testing.T, c *cluster.Cluster, subcommand string, args ...string) (well bool, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	command := exec.CommandContext(ctx, shared.binary, append(append([]string{subcommand}, args...),
		"--kubeconfig="+kubeconfigOf(t, c, subcommand), "--metrics-bind-address=0", "--health-probe-bind-address=0")...)
	command.Env = append(shared.cloud.Env(), "GOCOVERDIR="+t.TempDir())
	text, err := command.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("it did not end:\n%s", text)
	}
	if leaks := leaked(string(text)); len(leaks) > 0 {
		t.Errorf("%d parts of secrets stand in what it put out", len(leaks))
	}
	return err == nil, string(text)
}

// keeping are the rights to keep Secrets of a name.
func keeping(name string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{name},
		Verbs: []string{"get", "list", "watch", "create", "patch", "delete"}}
}

// loginsFor is a dockerconfigjson with a login for each of some registries.
func loginsFor(registries ...string) string {
	document := `{"auths":{`
	for i, registry := range registries {
		if i > 0 {
			document += ","
		}
		document += fmt.Sprintf(`%q:{"auth":%q}`, registry, encoded("user:"+password()))
	}
	return document + "}}"
}

// loginFile writes a login for registries into a file, or over it.
func loginFile(t *testing.T, name string, registries ...string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(loginsFor(registries...)), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// rewrite makes a Secret's dockerconfigjson one with logins for these registries.
func rewrite(t *testing.T, secret *corev1.Secret, registries ...string) {
	t.Helper()
	secret.StringData = map[string]string{corev1.DockerConfigJsonKey: loginsFor(registries...)}
	if err := shared.api.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
}

const patched = "image-pull-secret"

// The patcher with its own flags, variables, annotations and Secrets, without a
// right on ImagePullSecrets or on other Secrets.
func TestThePatcherWithItsRightsOnly(t *testing.T) {
	own := ownCluster(t, withoutRights)
	leases := make([]string, 32)
	for i := range leases {
		leases[i] = fmt.Sprintf("imagepullsecret-operator-leases-%d", i)
	}
	withRights(t, "patcher", keeping(patched),
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"list", "watch"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, Verbs: []string{"get", "list", "watch", "patch"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: leases, Verbs: []string{"get", "create", "patch"}},
	)
	home := namespace(t) // where the login's own Secret is
	source := create(t, patcherSecret(home, corev1.SecretTypeDockerConfigJson, nil))
	earlier, foreign, opaque, excluded := namespace(t), namespace(t), namespace(t), namespace(t)
	annotate(t, namespaceNamed(excluded), map[string]string{"k8s.titansoft.com/imagepullsecret-patcher-exclude": "true"})
	adopted := create(t, patcherSecret(earlier, corev1.SecretTypeDockerConfigJson, map[string]string{"app.kubernetes.io/managed-by": "imagepullsecret-patcher"}))
	stranger := create(t, patcherSecret(foreign, corev1.SecretTypeDockerConfigJson, nil))
	other := create(t, patcherSecret(opaque, corev1.SecretTypeOpaque, nil))
	for _, name := range []string{earlier, foreign, opaque, excluded} {
		create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "builder"}})
	}
	setListed(t, foreign, "builder", patched) // by the earlier patcher
	file := loginFile(t, filepath.Join(t.TempDir(), "config.json"), "first.example.com")

	t.Run("managedonly changes what it made and leaves strangers alone", func(t *testing.T) {
		process := runSubcommand(t, own, "patcher", []string{"CONFIG_MANAGEDONLY=true", "CONFIG_SECRET_NAMESPACE=" + home}, "-dockerconfigjsonpath="+file)
		if after := expectSecret(t, earlier, patched, "first.example.com"); after.UID != adopted.UID {
			t.Error("the earlier patcher's Secret was made anew")
		}
		expectAccount(t, earlier, "default", patched)
		expectUntouched(t, stranger)
		expectUntouched(t, other)
		expectUntouched(t, source)
		if err := process.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Run("by default it takes over what is there, follows the file, and keeps out of what is excluded", func(t *testing.T) {
		loginFile(t, file, "second.example.com")
		runSubcommand(t, own, "patcher", []string{"CONFIG_SERVICEACCOUNTS= default , builder"},
			"-dockerconfigjsonpath", file, "-secretnamespace="+home, "--exclude-annotation=pborn.eu/imagepullsecret-patcher-exclude", "-loop-duration=5s")
		if after := expectSecret(t, foreign, patched, "second.example.com"); after.UID != stranger.UID {
			t.Error("a Secret of the right type was made anew")
		}
		expectSecret(t, opaque, patched, "second.example.com")
		expectAccount(t, foreign, "builder", patched)
		expectRecorded(t, foreign, "builder", patched)
		loginFile(t, file, "third.example.com", "fourth.example.com")
		rotated := expectSecret(t, earlier, patched, "third.example.com", "fourth.example.com")
		expectSecret(t, namespace(t), patched, "third.example.com", "fourth.example.com")
		expectUntouched(t, source)
		expectNoSecret(t, excluded, patched)

		// A file that breaks takes nothing away.
		if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		annotate(t, namespaceNamed(foreign), map[string]string{"pborn.eu/imagepullsecret-patcher-exclude": "true"})
		expectNoSecret(t, foreign, patched)
		expectAccount(t, foreign, "builder")
		if now, err := secretIn(t, earlier, patched); err != nil || now.ResourceVersion != rotated.ResourceVersion {
			t.Errorf("a broken file changed a Secret, %v", err)
		}
		loginFile(t, file, "fifth.example.com")
		expectSecret(t, earlier, patched, "fifth.example.com")
	})
	t.Run("a login that is given as text, or is read from its own Secret, stands everywhere", func(t *testing.T) {
		otherSources(t, own, source, []string{earlier, foreign, opaque})
	})
	t.Run("runonce does everything and ends", func(t *testing.T) {
		late := namespace(t)
		if well, output := runToEnd(t, own, "patcher", "-runonce", "-dockerconfigjsonpath="+file, "-secretnamespace="+home); !well {
			t.Errorf("it did not end well:\n%s", output)
		}
		if secret, err := secretIn(t, late, patched); err != nil || sameRegistries(secret, []string{"fifth.example.com"}) != nil {
			t.Errorf("not everything was done: %v", err)
		}
		if well, output := runToEnd(t, own, "patcher", "-runonce", "-dockerconfigjson={"); well || !strings.Contains(output, "--dockerconfigjson") {
			t.Errorf("without a login it ends well: %v\n%s", well, output)
		}
	})
}

// otherSources shows the ways in which a login comes otherwise than from a file,
// in namespaces that have a ServiceAccount builder, and what keeps the patcher off
// a ServiceAccount.
func otherSources(t *testing.T, own *cluster.Cluster, source *corev1.Secret, namespaces []string) {
	const excluded = "k8s.titansoft.com/imagepullsecret-patcher-exclude"
	text := runSubcommand(t, own, "patcher", []string{"CONFIG_DOCKERCONFIGJSON=" + loginsFor("text.example.com")}, "-secretnamespace="+source.Namespace)
	for _, name := range namespaces {
		expectSecret(t, name, patched, "text.example.com")
	}
	expectUntouched(t, source)
	if err := text.Stop(); err != nil {
		t.Error(err)
	}

	rewrite(t, source, "source.example.com")
	runSubcommand(t, own, "patcher", nil, "-secretnamespace="+source.Namespace, "-allserviceaccount")
	for _, name := range namespaces {
		expectSecret(t, name, patched, "source.example.com")
		expectAccount(t, name, "builder", patched)
	}
	builder := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespaces[0], Name: "builder"}}
	annotate(t, builder, map[string]string{excluded: "true"})
	expectAccount(t, namespaces[0], "builder")
	expectAccount(t, namespaces[0], "default", patched)
	annotate(t, builder, map[string]string{excluded: ""})
	expectAccount(t, namespaces[0], "builder", patched)

	rewrite(t, source, "rotated.example.com")
	for _, name := range namespaces {
		expectSecret(t, name, patched, "rotated.example.com")
	}
	expectUntouched(t, source)
}

// patcherSecret is a Secret with the name that the patcher keeps.
func patcherSecret(namespace string, kind corev1.SecretType, annotations map[string]string) *corev1.Secret {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: patched, Annotations: annotations}, Type: kind}
	secret.StringData = map[string]string{corev1.DockerConfigJsonKey: `{"auths":{}}`}
	return secret
}

func namespaceNamed(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// expectAccount waits until a ServiceAccount lists these Secrets.
func expectAccount(t *testing.T, namespace, name string, secrets ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("ServiceAccount %s/%s lists %v", namespace, name, secrets), func() error {
		found, err := accountAt(t.Context(), client.ObjectKey{Namespace: namespace, Name: name})
		if err == nil && strings.Join(attachedTo(found), " ") != strings.Join(secrets, " ") {
			err = fmt.Errorf("it lists %v", attachedTo(found))
		}
		return err
	})
}

// The refresher with IMPS's flags: rights on its Secrets and on nothing else.
func TestTheRefresherWithItsRightsOnly(t *testing.T) {
	own := ownCluster(t, withoutRights)
	home, where := namespace(t), namespace(t)
	withRights(t, "refresher")
	rights := func(namespace, name string, rule rbacv1.PolicyRule) {
		meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
		create(t, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{rule}})
		create(t, &rbacv1.RoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: operator.Namespace, Name: "refresher"}},
		})
	}
	rights(where, "target", keeping("pull.secret"))
	rights(home, "sources", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"},
		ResourceNames: []string{"hub.dotted", "ecr"}, Verbs: []string{"get", "list", "watch"}})
	hub := create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "hub.dotted"}, Type: corev1.SecretTypeDockerConfigJson,
		StringData: map[string]string{corev1.DockerConfigJsonKey: loginsFor("first.example.com")},
	})
	account := fmt.Sprintf("%012d", 700000000000+number())
	key := shared.cloud.AddAccessKey(account, "puller")
	shared.cloud.GrantECR(key.UserARN, account)
	// As IMPS's own sample: without a type.
	create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "ecr"},
		StringData: map[string]string{"accountID": account, "region": "eu-central-1", "accessKeyID": key.ID, "secretKey": key.Secret},
	})
	args := []string{"--source-secret=" + home + ".hub.dotted", "--source-secret=" + home + ".ecr", "--target-secret=" + where + ".pull.secret", "--periodic-reconcile-interval=300", "--log.level=debug"}
	registry := account + ".dkr.ecr.eu-central-1.amazonaws.com"
	if well, output := runToEnd(t, own, "refresher", append([]string{"--once"}, args...)...); !well {
		t.Errorf("once, it did not end well:\n%s", output)
	}
	if secret, err := secretIn(t, where, "pull.secret"); err != nil {
		t.Error(err)
	} else if err := sameRegistries(secret, []string{"first.example.com", registry}); err != nil {
		t.Errorf("not everything was done once: %v", err)
	} else {
		remove(t, secret)
	}
	runSubcommand(t, own, "refresher", nil, args...)
	secret := expectSecret(t, where, "pull.secret", "first.example.com", registry)
	if err := pull(t.Context(), secret, registry); err != nil {
		t.Error(err)
	}
	rewrite(t, hub, "second.example.com")
	expectSecret(t, where, "pull.secret", "second.example.com", registry)
	remove(t, secret)
	expectSecret(t, where, "pull.secret", "second.example.com", registry)
}

// manager --once, as a CronJob runs it.
func TestTheManagerOnceInAClusterOfItsOwn(t *testing.T) {
	own := ownCluster(t, withAllRights)
	home, label := namespace(t), unique("label")
	selected := []string{namespace(t, label, "yes"), namespace(t, label, "yes")}
	made := newObject("pull", label, staticSource(t, home, registry))
	made.Spec.Target.ServiceAccounts.Names = []string{"default"}
	create(t, made)
	for _, name := range selected {
		expectAccount(t, name, "default") // which Kubernetes makes
	}
	if well, output := runToEnd(t, own, "manager", "--once"); !well {
		t.Fatalf("it did not end well:\n%s", output)
	}
	for _, name := range selected {
		if secret, err := secretIn(t, name, "pull"); err != nil || sameRegistries(secret, []string{registry}) != nil {
			t.Errorf("not everything was done in %s: %v", name, err)
		}
		if found, err := accountAt(t.Context(), client.ObjectKey{Namespace: name, Name: "default"}); err != nil || strings.Join(attachedTo(found), " ") != "pull" {
			t.Errorf("not everything was attached in %s: %v", name, err)
		}
	}
	// What is not selected any more goes in the next run.
	relabel(t, selected[0], label, "no")
	missing := object(t, "missing", label, v1alpha1.CredentialSource{Namespace: home, Name: "nowhere"})
	well, output := runToEnd(t, own, "manager", "--once")
	if well || !strings.Contains(output, fmt.Sprintf("ImagePullSecret %q: SourceNotFound", missing.Name)) {
		t.Errorf("it ended well: %v\n%s", well, output)
	}
	if _, err := secretIn(t, selected[0], "pull"); !apierrors.IsNotFound(err) {
		t.Errorf("what is not selected is still there: %v", err)
	}
}
