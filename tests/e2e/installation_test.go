//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/tests/operator"
)

const (
	operatorName      = "imagepullsecret-operator"
	operatorNamespace = "imagepullsecret-system"
	operatorImage     = "operator"       // its repository in the private registry
	operatorLogin     = "operator-image" // the Secret that this image is pulled with
	cloudAuthorities  = "cloud-authorities"
)

// The releases that are installed. `make e2e` put the image of each into
// bin/e2e/<release>, which is its tag in the private registry too.
const (
	current  = "current"
	previous = "previous"
)

// way is how the operator is installed: by which Helm, and with which rights.
type way struct {
	helm   string
	values string
}

var ways = map[string]way{
	"Helm 4, RBAC mode cluster": {helm: "helm"},
	"Helm 3, RBAC mode named": {helm: "helm3", values: `
rbac:
  mode: named
  targetSecretNames: [dockerhub, ` + rotatedSecret + `, imagepullsecret-` + annotatedName + `]
  sources: [{namespace: ` + sourceNamespace + `, names: [dockerhub]}]
`},
}

// inEveryWay goes through a journey with each installation, the admission
// fence around all of them. Everything is as before at its end.
func inEveryWay(t *testing.T, journey func(*testing.T, way)) {
	t.Helper()
	for name, w := range ways {
		t.Run(name, func(t *testing.T) { journey(t, w) })
	}
}

// pushOperator puts what `make image` wrote into the private registry, by its
// own means.
func pushOperator(ctx context.Context, release string) (err error) {
	home, err := os.MkdirTemp("", "docker-config-")
	if err != nil {
		return fmt.Errorf("push the operator's image: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(home)) }()
	if err := os.WriteFile(filepath.Join(home, "config.json"), []byte(dockerConfig()), 0o600); err != nil {
		return fmt.Errorf("push the operator's image: %w", err)
	}
	command := exec.CommandContext(ctx, built("image"), "push", "-out", built("e2e", release),
		shared.registry.Host()+"/"+operatorImage+":"+release)
	command.Env = append(os.Environ(), "DOCKER_CONFIG="+home)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("push the operator's image (`make e2e` builds it): %w\n%s", err, output)
	}
	return nil
}

// built is the path of a file that make has built.
func built(path ...string) string {
	return filepath.Join(append([]string{operator.Root(), "bin"}, path...)...)
}

// prepareNamespace makes the operator's namespace, with the login for its image
// and the authorities of the clouds.
func prepareNamespace(t *testing.T) {
	t.Helper()
	authorities, err := os.ReadFile(shared.cloud.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name:   operatorNamespace,
		Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}})
	createLogin(t, operatorNamespace, operatorLogin)
	create(t, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: cloudAuthorities},
		Data:       map[string]string{"ca.crt": string(authorities)},
	})
}

// install prepares the operator's namespace, installs the chart of this release
// until the test ends, and returns when the operator is ready.
func (w way) install(t *testing.T, further string) {
	t.Helper()
	prepareNamespace(t)
	w.release(t, "install", current, further)
	t.Cleanup(func() { w.uninstall(context.Background(), t) })
}

// release installs or upgrades to a release. The values are the defaults, but
// for where the image comes from, the way to the clouds, and further ones.
func (w way) release(t *testing.T, verb, release, further string) {
	t.Helper()
	chart := filepath.Join(operator.Root(), "charts", operatorName)
	if release == previous {
		packages, err := filepath.Glob(built("e2e", previous, operatorName+"-*.tgz"))
		if err != nil || len(packages) != 1 {
			t.Fatalf("found %v (%v), want the one chart that `make e2e` builds", packages, err)
		}
		chart = packages[0]
	}
	values := fmt.Sprintf(`
image: {repository: "%s/%s", tag: %s}
imagePullSecrets: [{name: %s}]
proxy: {httpsProxy: "http://%s", noProxy: 10.96.0.1}
trustedCA: {configMapName: %s}
%s
%s`, shared.registry.Host(), operatorImage, release, operatorLogin, cloudProxy, cloudAuthorities, w.values, further)
	w.run(t.Context(), t, values, verb, operatorName, chart, "--values", "-", "--wait")
}

// uninstall removes the operator, if it is there.
func (w way) uninstall(ctx context.Context, t *testing.T) {
	t.Helper()
	w.run(ctx, t, "", "uninstall", operatorName, "--ignore-not-found", "--wait")
}

// run runs this Helm in the operator's namespace.
func (w way) run(ctx context.Context, t *testing.T, stdin string, arguments ...string) {
	t.Helper()
	command := exec.CommandContext(ctx, built(w.helm), append(arguments,
		"--namespace", operatorNamespace, "--timeout", patience.String())...)
	home := t.TempDir()
	command.Env = append(os.Environ(), "KUBECONFIG="+shared.cluster.Kubeconfig(),
		"HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	command.Stdin = strings.NewReader(stdin)
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("%s %s: %v\n%s", w.helm, arguments[0], err, output)
	}
}
