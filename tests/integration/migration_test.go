package integration

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// estate is what a system before this one leaves in a cluster: what it runs as,
// and what it made or wrote for others.
type estate struct {
	// namespace is the system's own, name that of its workload and ServiceAccount.
	namespace, name string
	secrets         []*corev1.Secret
	accounts        []*corev1.ServiceAccount
	pods            []*corev1.Pod
	// opens are the registries for which each Secret has logins, before and after.
	opens map[types.UID][]string
	// takenOver waits for what is particular about this system.
	takenOver func(t *testing.T)
}

// Whoever follows the pages on migrating finds everything as it was: the other
// systems' objects are there first, in the form that these systems write, then
// comes ours, and then they go.
func TestMigrationsLoseNothing(t *testing.T) {
	own := ownCluster(t, withTheCRDOfIMPS)
	trusted(t, own)
	estates := map[string]*estate{
		"IMPS":                              estateOfIMPS(t),
		"image-pull-secrets-provisioner":    estateOfProvisioner(t, own),
		"pull-secret-updater":               estateOfUpdater(t, own),
		"imagepullsecret-patcher":           estateOfPatcher(t),
		"imagepullsecret-patcher by object": estateOfPatcherByObject(t),
	}
	for _, e := range estates {
		e.settle(t)
	}
	watched := keepJournal(t, own)
	startOurs(t, own)
	for name, e := range estates {
		t.Run(name, func(t *testing.T) {
			e.takenOver(t)
			e.expectKept(t)
			e.removeSystem(t)
			e.expectKept(t)
			watched.expectNoLoss(t, e)
			e.expectRepaired(t)
		})
	}
}

// withTheCRDOfIMPS gives a cluster the CRD that IMPS's chart brings.
func withTheCRDOfIMPS(ctx context.Context, c *cluster.Cluster) error {
	api, err := clientFor(c)
	if err != nil {
		return err
	}
	return applyFile(ctx, api, filepath.Join("..", "chart", "testdata", "imps-crd.yaml"))
}

// startOurs installs the operator, the rights that the chart's switches and the
// pages give, and runs it as the manager and in the patcher's place.
func startOurs(t *testing.T, own *cluster.Cluster) {
	t.Helper()
	if err := withAllRights(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	grantRules(t, shared.api, "annotated-service-accounts",
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, Verbs: []string{"create"}})
	runOperator(t, own, "--annotated-service-accounts", "--annotated-secrets", "--chainguard-allow=*",
		"--chainguard-service-account="+updaterSystem+"/"+updaterName, "--chainguard-audience=issuer.enforce.dev")

	kubeconfig, err := own.ServiceAccountKubeconfig(t.Context(), patcherSystem, patcherSystem)
	if err != nil {
		t.Fatal(err)
	}
	process, err := operator.Start(context.Background(), operator.Options{
		Binary: shared.binary, Kubeconfig: kubeconfig, Subcommand: "patcher",
		Args: []string{"--namespace=" + patcherSystem, "-dockerconfigjsonpath=" + loginFile(t, filepath.Join(t.TempDir(), "config.json"), registry)},
		Env:  append(shared.cloud.Env(), "GOCOVERDIR="+t.TempDir()),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { expectNoLeakOf(t, process) })
}

// add has the estate hold a Secret that opens registries.
func (e *estate) add(secret *corev1.Secret, registries ...string) *corev1.Secret {
	e.secrets = append(e.secrets, secret)
	if e.opens == nil {
		e.opens = map[types.UID][]string{}
	}
	e.opens[secret.UID] = registries
	return secret
}

// settle makes what the system runs as, and reads what it wrote once more: the
// test itself may have written it in several steps.
func (e *estate) settle(t *testing.T) {
	t.Helper()
	labels := map[string]string{"app": e.name}
	create(t, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: e.name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				ServiceAccountName: e.name, Containers: []corev1.Container{{Name: "main", Image: "registry.example.com/" + e.name}},
			}},
		},
	})
	for _, account := range e.accounts {
		if err := shared.api.Get(t.Context(), client.ObjectKeyFromObject(account), account); err != nil {
			t.Fatal(err)
		}
	}
}

// removeSystem does as the last step of each page: what the system runs as goes.
// Its ServiceAccount stays where the page says so.
func (e *estate) removeSystem(t *testing.T) {
	t.Helper()
	if keeps := e.name == updaterName || e.name == patcherSystem; keeps {
		remove(t, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: e.name}})
		return
	}
	remove(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.namespace}})
	eventuallyLong(t, "namespace "+e.namespace+" gone", func() error {
		err := shared.api.Get(t.Context(), client.ObjectKey{Name: e.namespace}, &corev1.Namespace{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, errors.New("it is there"))
	})
}

// expectKept waits until every Secret is kept by us and opens what it opened, and
// checks that it is the same one, as are ServiceAccounts, their entries and Pods.
func (e *estate) expectKept(t *testing.T) {
	t.Helper()
	for _, before := range e.secrets {
		after := expectSecret(t, before.Namespace, before.Name, e.opens[before.UID]...)
		if after.UID != before.UID {
			t.Errorf("Secret %s/%s was made anew", before.Namespace, before.Name)
		}
		eventually(t, fmt.Sprintf("Secret %s/%s is kept by us", before.Namespace, before.Name), func() error {
			now, err := secretIn(t, before.Namespace, before.Name)
			if err == nil && now.Annotations[v1alpha1.AnnotationContentHash] == "" {
				err = errors.New("we have not written it")
			}
			return err
		})
	}
	for _, before := range e.accounts {
		after, err := accountAt(t.Context(), client.ObjectKeyFromObject(before))
		if err != nil {
			t.Fatal(err)
		}
		listed, now := attachedTo(before), attachedTo(after)
		if after.UID != before.UID || len(now) < len(listed) || !slices.Equal(now[:len(listed)], listed) {
			t.Errorf("ServiceAccount %s/%s listed %v and lists %v", before.Namespace, before.Name, listed, now)
		}
	}
	for _, before := range e.pods {
		var after corev1.Pod
		if err := shared.api.Get(t.Context(), client.ObjectKeyFromObject(before), &after); err != nil {
			t.Fatal(err)
		}
		if after.UID != before.UID || after.DeletionTimestamp != nil || !slices.Equal(after.Spec.ImagePullSecrets, before.Spec.ImagePullSecrets) {
			t.Errorf("Pod %s/%s is not what it was", before.Namespace, before.Name)
		}
	}
}

// expectRepaired shows that it is us who keep the Secrets now: what somebody
// breaks is mended, in place.
func (e *estate) expectRepaired(t *testing.T) {
	t.Helper()
	for _, before := range e.secrets {
		now, err := secretIn(t, before.Namespace, before.Name)
		if err != nil {
			t.Fatal(err)
		}
		now.Data[corev1.DockerConfigJsonKey] = []byte(`{"auths":{}}`)
		if err := shared.api.Update(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		if after := expectSecret(t, before.Namespace, before.Name, e.opens[before.UID]...); after.UID != before.UID {
			t.Errorf("Secret %s/%s was made anew", before.Namespace, before.Name)
		}
	}
}

// journal is what a watch has seen of all Secrets of a cluster.
type journal struct {
	mu     sync.Mutex
	events []watch.Event
}

// keepJournal watches until the test ends.
func keepJournal(t *testing.T, c *cluster.Cluster) *journal {
	t.Helper()
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	api, err := client.NewWithWatch(c.Config(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	following, err := api.Watch(t.Context(), &corev1.SecretList{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(following.Stop)
	kept := &journal{}
	go func() {
		for event := range following.ResultChan() {
			kept.mu.Lock()
			kept.events = append(kept.events, event)
			kept.mu.Unlock()
		}
	}()
	return kept
}

// expectNoLoss checks that no Secret of an estate was deleted, and that each had
// its logins all the time. It returns when the watch has told of the newest.
func (j *journal) expectNoLoss(t *testing.T, e *estate) {
	t.Helper()
	for _, before := range e.secrets {
		newest, err := secretIn(t, before.Namespace, before.Name)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the watch of Secrets is up to date", func() error {
			versions := j.of(before.UID)
			if len(versions) < 2 || versions[len(versions)-1].Object.(*corev1.Secret).ResourceVersion != newest.ResourceVersion {
				return fmt.Errorf("%d versions of %s/%s were seen", len(versions), before.Namespace, before.Name)
			}
			return nil
		})
		for _, event := range j.of(before.UID) {
			secret := event.Object.(*corev1.Secret)
			if err := sameRegistries(secret, e.opens[before.UID]); event.Type == watch.Deleted || err != nil {
				t.Errorf("Secret %s/%s was %s: %v", secret.Namespace, secret.Name, event.Type, err)
			}
		}
	}
}

func (j *journal) of(uid types.UID) []watch.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []watch.Event
	for _, event := range j.events {
		if secret, ok := event.Object.(*corev1.Secret); ok && secret.UID == uid {
			found = append(found, event)
		}
	}
	return found
}
