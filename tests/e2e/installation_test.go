//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/tests/operator"
	"github.com/imagepullsecrets/operator/tests/registry"
)

const (
	operatorName      = "imagepullsecret-operator"
	operatorNamespace = "imagepullsecret-system"
	operatorLogin     = "operator-image" // the Secret that the operator's own image is pulled with
	cloudAuthorities  = "cloud-authorities"
)

// pushOperator puts the operator's image into the private registry.
func pushOperator(t *testing.T) (repository, tag string) {
	t.Helper()
	image, err := registry.ProgramImage(filepath.Join(operator.Root(), "bin", operatorName), "/"+operatorName)
	if err != nil {
		t.Fatal(err)
	}
	reference, err := shared.registry.Push(t.Context(), image, "operator:e2e")
	if err != nil {
		t.Fatal(err)
	}
	tag = "e2e"
	return strings.TrimSuffix(reference, ":"+tag), tag
}

// installByHelm installs the chart until the test ends, and returns when the
// operator is ready. Its values are the defaults, but for where the image comes
// from, the way to the clouds, and further ones.
func installByHelm(t *testing.T, further string) {
	t.Helper()
	repository, tag := pushOperator(t)
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
	values := fmt.Sprintf(`
image: {repository: %q, tag: %q}
imagePullSecrets: [{name: %s}]
proxy: {httpsProxy: "http://%s", noProxy: 10.96.0.1}
trustedCA: {configMapName: %s}
%s`, repository, tag, operatorLogin, cloudProxy, cloudAuthorities, further)
	helm(t.Context(), t, values, "install", operatorName, filepath.Join(operator.Root(), "charts", operatorName),
		"--wait", "--timeout", patience.String(), "--values", "-")
	t.Cleanup(func() {
		helm(context.Background(), t, "", "uninstall", operatorName, "--wait", "--timeout", patience.String())
	})
}

// helm runs bin/helm in the operator's namespace.
func helm(ctx context.Context, t *testing.T, stdin string, arguments ...string) {
	t.Helper()
	command := exec.CommandContext(ctx, filepath.Join(operator.Root(), "bin", "helm"), append(arguments, "--namespace", operatorNamespace)...)
	home := t.TempDir()
	command.Env = append(os.Environ(), "KUBECONFIG="+shared.cluster.Kubeconfig(),
		"HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	command.Stdin = strings.NewReader(stdin)
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("helm %s: %v\n%s", arguments[0], err, output)
	}
}
