package chart

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/imagepullsecrets/operator/tests/operator"
)

// The Pods of hooks do their work with the rights that the chart gives them, and
// no others: in mode named, those on Secrets of the named names, and in mode
// namespaces, those in the listed ones. Each Helm shows one of both.
func TestHooksDoTheirWork(t *testing.T) {
	modes := []string{
		`{mode: named, targetSecretNames: [pull, imagepullsecret-app]}`,
		`{mode: namespaces, namespaces: [team], targetSecretNames: [pull, imagepullsecret-app]}`,
	}
	binary, err := operator.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	turn := 0
	onCluster(t, func(t *testing.T, i installation) {
		if turn == 0 {
			makeNamespace(t, i.client, "team", nil)
		}
		values := fmt.Sprintf(`{uninstall: {cleanUp: true, timeout: 2m}, rbac: %s,
			annotatedServiceAccounts: {enabled: true, namespaces: [team]}}`, modes[turn%len(modes)])
		turn++
		i.must(t, values, "install", name, chartDir)

		logged := i.playNode(t, binary, name+"-check", name)
		if _, _, err := execute(i.env, "", i.path, "test", name, "--namespace", namespace); err != nil {
			t.Errorf("helm test: %v", err)
		}
		if log := <-logged; strings.Contains(log, "FAIL") || !strings.Contains(log, "ok    the right to delete secrets named pull") {
			t.Errorf("the check printed:\n%s", log)
		}

		i.leaveThings(t)
		logged = i.playNode(t, binary, name+"-cleanup", name+"-cleanup")
		i.uninstall(t)
		if log := <-logged; !strings.Contains(log, "nothing is left") {
			t.Errorf("the clean-up logged:\n%s", log)
		}
		i.expectNothingLeft(t)
	})
}

// playNode does, meanwhile, what a node would do with the Pod of a hook, and hands
// over what it printed; nothing if there was no such Pod.
func (i installation) playNode(t *testing.T, binary, prefix, account string) <-chan string {
	printed, over := make(chan string, 1), make(chan struct{})
	t.Cleanup(func() { <-over }) // it may fail the test, which must not have ended
	go func() {
		defer close(over)
		defer close(printed)
		printed <- i.runHookPod(t, binary, prefix, account)
	}()
	return printed
}

// runHookPod runs what the Pod of a hook would whose name begins so, as its
// ServiceAccount, and returns what it printed. The operator's Service is played.
func (i installation) runHookPod(t *testing.T, binary, prefix, account string) string {
	var pod *corev1.Pod
	eventually(t, "there is a Pod "+prefix, func(ctx context.Context) bool {
		pods, err := i.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + name + "-hook"})
		if err != nil {
			return false
		}
		index := slices.IndexFunc(pods.Items, func(p corev1.Pod) bool {
			return strings.HasPrefix(p.Name, prefix) && p.Status.Phase == corev1.PodPending
		})
		if index >= 0 {
			pod = &pods.Items[index]
		}
		return index >= 0
	})
	if pod.Spec.ServiceAccountName != account {
		t.Errorf("Pod %s runs as %s", pod.Name, pod.Spec.ServiceAccountName)
	}
	kubeconfig, err := i.cluster.ServiceAccountKubeconfig(t.Context(), namespace, account)
	if err != nil {
		t.Error(err)
	}
	args := append(slices.Clone(pod.Spec.Containers[0].Args), "--kubeconfig="+kubeconfig)
	if args[0] == "check" {
		args = append(args, "--metrics-url="+metricsOf(t, binary))
	}
	printed, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput()
	phase := corev1.PodSucceeded
	if err != nil {
		phase = corev1.PodFailed
	}
	patch := []byte(`{"status":{"phase":"` + string(phase) + `"}}`)
	if _, err := i.client.CoreV1().Pods(namespace).Patch(t.Context(), pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		t.Error(err)
	}
	return string(printed)
}

// metricsOf plays the metrics of an operator that was built into a binary, and
// returns where they are.
func metricsOf(t *testing.T, binary string) string {
	version, err := exec.CommandContext(t.Context(), binary, "version").Output()
	if err != nil {
		t.Error(err)
	}
	number, _, _ := strings.Cut(strings.TrimSpace(string(version)), " ")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`imagepullsecret_build_info{commit="",date="",version="` + number + "\"} 1\n"))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// leaveThings makes what an operator leaves that ran here: an ImagePullSecret with
// its Secret, that of an annotated ServiceAccount, both attached, and a lease.
// Another operator, for other names, has attached theirs.
func (i installation) leaveThings(t *testing.T) {
	t.Helper()
	object, err := i.objects.Resource(imagePullSecrets).Create(t.Context(), imagePullSecret("left"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	account, err := i.client.CoreV1().ServiceAccounts("team").Create(t.Context(), &corev1.ServiceAccount{
		ObjectMeta:       metav1.ObjectMeta{Name: "app", Annotations: map[string]string{"images.banzaicloud.io/attached": "imagepullsecret-app,pull,theirs"}},
		ImagePullSecrets: []corev1.LocalObjectReference{{Name: "mine"}, {Name: "pull"}, {Name: "imagepullsecret-app"}, {Name: "theirs"}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	i.makeSecret(t, "team", "pull", metav1.OwnerReference{APIVersion: object.GetAPIVersion(), Kind: object.GetKind(), Name: object.GetName(), UID: object.GetUID()})
	i.makeSecret(t, "team", "imagepullsecret-app", metav1.OwnerReference{APIVersion: "v1", Kind: "ServiceAccount", Name: "app", UID: account.UID, Controller: ptr.To(true)})
	i.makeSecret(t, namespace, "imagepullsecret-operator-leases-31")
	i.makeSecret(t, "team", "mine")
}

// makeSecret makes a Secret that is kept for its owner, if it has one.
func (i installation) makeSecret(t *testing.T, in, name string, owners ...metav1.OwnerReference) {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: owners}}
	for _, owner := range owners {
		secret.Labels = map[string]string{"images.banzaicloud.io/owner-uid": string(owner.UID)}
	}
	if _, err := i.client.CoreV1().Secrets(in).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// expectNothingLeft looks for what leaveThings made and for what the hooks need,
// and takes away what is the user's.
func (i installation) expectNothingLeft(t *testing.T) {
	t.Helper()
	left := map[string][]string{}
	list, err := i.objects.Resource(imagePullSecrets).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range list.Items {
		left["ImagePullSecrets"] = append(left["ImagePullSecrets"], item.GetName())
	}
	for _, in := range []string{"team", namespace} {
		secrets, err := i.client.CoreV1().Secrets(in).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range secrets.Items {
			if secret.Name != "mine" {
				left["Secrets"] = append(left["Secrets"], in+"/"+secret.Name)
			}
		}
	}
	roles, err := i.client.RbacV1().ClusterRoles().List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=" + name})
	if err != nil || len(roles.Items) > 0 {
		t.Errorf("%d ClusterRoles are left (%v)", len(roles.Items), err)
	}
	if len(left) > 0 {
		t.Errorf("left are %v", left)
	}
	account, err := i.client.CoreV1().ServiceAccounts("team").Get(t.Context(), "app", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []corev1.LocalObjectReference{{Name: "mine"}, {Name: "theirs"}}; !slices.Equal(account.ImagePullSecrets, want) ||
		account.Annotations["images.banzaicloud.io/attached"] != "theirs" {
		t.Errorf("the ServiceAccount has %v and %v", account.ImagePullSecrets, account.Annotations)
	}
	for what, err := range map[string]error{
		"the user's Secret":         i.client.CoreV1().Secrets("team").Delete(t.Context(), "mine", metav1.DeleteOptions{}),
		"the user's ServiceAccount": i.client.CoreV1().ServiceAccounts("team").Delete(t.Context(), "app", metav1.DeleteOptions{}),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
