package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// deadline is for what takes well under a second on an idle machine.
const deadline = 30 * time.Second

// testLog passes lines to the test's log as they come.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// progressOf shows what Start does in the test's log.
func progressOf(t *testing.T) Options { return Options{Progress: testLog{t}} }

func startForTest(t *testing.T, o Options) *Cluster {
	t.Helper()
	c, err := Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func clientFor(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func clientFromFile(t *testing.T, path string) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	return clientFor(t, config)
}

// eventually fails the test unless condition holds before the deadline.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	end := time.Now().Add(deadline)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for ; !condition(); <-ticker.C {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", deadline, what)
		}
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func makeNamespace(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	must[*corev1.Namespace](t)(client.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}))
}

func TestCluster(t *testing.T) {
	c := startForTest(t, progressOf(t))
	t.Run("the administrator's kubeconfig works", func(t *testing.T) {
		must[*corev1.NamespaceList](t)(clientFromFile(t, c.Kubeconfig()).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}))
	})
	t.Run("a ServiceAccount may do what RBAC grants and nothing else", func(t *testing.T) { checkServiceAccount(t, c) })
	t.Run("what an object owned is collected after it", func(t *testing.T) { checkGarbageCollection(t, c) })
	t.Run("a deleted namespace goes away", func(t *testing.T) { checkNamespaceDeletion(t, c) })
	t.Run("a request without credentials is refused", func(t *testing.T) { checkAnonymous(t, c) })
	t.Run("the API server comes back with what it held", func(t *testing.T) { checkAPIServerRestart(t, c) })
	t.Run("Config returns a copy each time", func(t *testing.T) {
		config := c.Config()
		config.Host = "changed"
		if c.Config().Host == "changed" {
			t.Error("a change to one configuration reached the next")
		}
	})
}

func checkServiceAccount(t *testing.T, c *Cluster) {
	admin := clientFor(t, c.Config())
	makeNamespace(t, admin, "tokens")
	if path, err := c.ServiceAccountKubeconfig(t.Context(), "tokens", "reader"); !apierrors.IsNotFound(err) {
		t.Fatalf("a ServiceAccount that does not exist: got %q, %v; want not found", path, err)
	}
	must[*corev1.ServiceAccount](t)(admin.CoreV1().ServiceAccounts("tokens").Create(t.Context(),
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "reader"}}, metav1.CreateOptions{}))
	path := must[string](t)(c.ServiceAccountKubeconfig(t.Context(), "tokens", "reader"))
	reader := clientFromFile(t, path)

	_, err := reader.CoreV1().ConfigMaps("tokens").List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "system:serviceaccount:tokens:reader") {
		t.Fatalf("without a role: got %v, want forbidden for the ServiceAccount", err)
	}
	grant(t, admin, "tokens", "reader", "configmaps")
	eventually(t, "the role is in force", func() bool {
		_, err := reader.CoreV1().ConfigMaps("tokens").List(t.Context(), metav1.ListOptions{})
		return err == nil
	})
	if _, err := reader.CoreV1().Secrets("tokens").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("beyond the role: got %v, want forbidden", err)
	}
}

// grant lets a ServiceAccount list resource in its namespace.
func grant(t *testing.T, admin kubernetes.Interface, namespace, name, resource string) {
	t.Helper()
	must[*rbacv1.Role](t)(admin.RbacV1().Roles(namespace).Create(t.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{resource}, Verbs: []string{"list"}}},
	}, metav1.CreateOptions{}))
	must[*rbacv1.RoleBinding](t)(admin.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
	}, metav1.CreateOptions{}))
}

func checkGarbageCollection(t *testing.T, c *Cluster) {
	configMaps := clientFor(t, c.Config()).CoreV1().ConfigMaps("default")
	owner := must[*corev1.ConfigMap](t)(configMaps.Create(t.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}}, metav1.CreateOptions{}))
	must[*corev1.ConfigMap](t)(configMaps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Name:            "owned",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}},
	}}, metav1.CreateOptions{}))
	if err := configMaps.Delete(t.Context(), owner.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	eventually(t, "the owned ConfigMap is deleted", func() bool {
		_, err := configMaps.Get(t.Context(), "owned", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	t.Logf("collected after %s", time.Since(begin).Round(time.Millisecond))
}

func checkNamespaceDeletion(t *testing.T, c *Cluster) {
	client := clientFor(t, c.Config())
	makeNamespace(t, client, "short-lived")
	if err := client.CoreV1().Namespaces().Delete(t.Context(), "short-lived", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	eventually(t, "the namespace is deleted", func() bool {
		_, err := client.CoreV1().Namespaces().Get(t.Context(), "short-lived", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	t.Logf("deleted after %s", time.Since(begin).Round(time.Millisecond))
}

func checkAnonymous(t *testing.T, c *Cluster) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(must[[]byte](t)(os.ReadFile(c.CAFile()))) || !roots.AppendCertsFromPEM(c.CA()) {
		t.Fatal("no certificate in CA or CAFile")
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	response := must[*http.Response](t)(client.Get(c.Config().Host + "/version"))
	defer response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("got %s, want 401", response.Status)
	}
}

func checkAPIServerRestart(t *testing.T, c *Cluster) {
	if err := c.StartAPIServer(t.Context()); err == nil {
		t.Error("an API server that runs was started")
	}
	client := clientFor(t, c.Config())
	makeNamespace(t, client, "kept")
	if err := c.StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Namespaces().Get(t.Context(), "kept", metav1.GetOptions{}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("stopped: got %v, want a refused connection", err)
	}
	if err := c.StopAPIServer(); err == nil {
		t.Error("an API server that does not run was stopped")
	}
	if err := c.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	must[*corev1.Namespace](t)(client.CoreV1().Namespaces().Get(t.Context(), "kept", metav1.GetOptions{}))
	// The controller manager finds it, too.
	eventually(t, "a new namespace has its ServiceAccount", func() bool {
		_, _ = client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "after"}}, metav1.CreateOptions{})
		_, err := client.CoreV1().ServiceAccounts("after").Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
}

func TestTwoClustersStandSideBySide(t *testing.T) {
	first, second := startForTest(t, progressOf(t)), startForTest(t, progressOf(t))
	makeNamespace(t, clientFor(t, first.Config()), "only-in-the-first")
	_, err := clientFor(t, second.Config()).CoreV1().Namespaces().Get(t.Context(), "only-in-the-first", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("in the second cluster: got %v, want not found", err)
	}
}

func TestStopLeavesNothing(t *testing.T) {
	c := startForTest(t, progressOf(t))
	if pids := must[[]int](t)(processesOf(c.Dir())); len(pids) != 3 {
		t.Fatalf("before: got processes %v, want three", pids)
	}
	begin := time.Now()
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped in %s", time.Since(begin).Round(time.Millisecond))
	if pids := must[[]int](t)(processesOf(c.Dir())); len(pids) != 0 {
		t.Errorf("after: got processes %v, want none", pids)
	}
	if exists(c.Dir()) || exists(c.record.Name()) {
		t.Error("the directory or the record is still there")
	}
	if err := c.Stop(); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

func TestClusterStopsWhenItsContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, err := Start(ctx, progressOf(t))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	eventually(t, "the cluster's directory is removed", func() bool { return !exists(c.Dir()) })
}

func TestStartReportsTheLogOfAComponentThatFails(t *testing.T) {
	running := records{dir: t.TempDir()}
	cache := must[string](t)(cacheDir())
	_, err := startWith(t.Context(), Options{Progress: testLog{t}, APIServerArgs: []string{"--no-such-flag"}}, cache, running)
	if err == nil || !strings.Contains(err.Error(), "unknown flag: --no-such-flag") {
		t.Errorf("got %v, want the API server's complaint about the flag", err)
	}
	if left := must[[]string](t)(filepath.Glob(filepath.Join(running.dir, "*"+recordSuffix))); len(left) != 0 {
		t.Errorf("got records %v, want none", left)
	}
}

func TestStopReportsAComponentThatDiedBefore(t *testing.T) {
	c, err := Start(t.Context(), progressOf(t))
	if err != nil {
		t.Fatal(err)
	}
	last := c.components[len(c.components)-1]
	if err := last.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-last.done
	if err := c.Stop(); err == nil || !strings.Contains(err.Error(), kubeControllerManager+" ended by itself (signal: killed)") {
		t.Errorf("got %v, want the controller manager's end", err)
	}
	if exists(c.Dir()) {
		t.Error("the directory is still there")
	}
}

func TestStartUsesKubebuilderAssets(t *testing.T) {
	binaries := must[string](t)(built(t.Context(), must[string](t)(cacheDir()), kubernetesSoftware, newProgress(testLog{t})))
	binary := filepath.Join(binaries, "kubernetes")
	assets := t.TempDir()
	for _, name := range []string{etcd, kubeAPIServer} {
		if err := os.Symlink(binary, filepath.Join(assets, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(assetsVariable, assets)
	_, err := Start(t.Context(), Options{})
	if err == nil || !strings.Contains(err.Error(), "no usable kube-controller-manager") {
		t.Fatalf("got %v, want a complaint about the missing kube-controller-manager", err)
	}
	if err := os.Symlink(binary, filepath.Join(assets, kubeControllerManager)); err != nil {
		t.Fatal(err)
	}
	c := startForTest(t, progressOf(t))
	if got, want := c.components[0].cmd.Path, filepath.Join(assets, etcd); got != want {
		t.Errorf("etcd runs as %s, want %s", got, want)
	}
}

func TestStartSaysThatGoIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Start(t.Context(), Options{})
	if err == nil || !strings.Contains(err.Error(), "install Go") || !strings.Contains(err.Error(), exec.ErrNotFound.Error()) {
		t.Errorf("got %v, want an error that says to install Go", err)
	}
}

// contextThatEndsWhen returns a context that is cancelled once condition
// holds or the deadline is over.
func contextThatEndsWhen(t *testing.T, condition func() bool) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	go func() {
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for ctx.Err() == nil && !condition() {
			<-ticker.C
		}
		cancel()
	}()
	return ctx, cancel
}
