// Package chart tests the Helm chart with Helm 3 and Helm 4: that it says what
// config/ says, grants exactly the rights it should, refuses wrong values, and
// installs, upgrades and uninstalls on a real API server.
package chart

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

const (
	repository = "../.."
	chartDir   = repository + "/charts/imagepullsecret-operator"
	name       = "imagepullsecret-operator"
	namespace  = "imagepullsecret-system"
)

// buildTools builds the tools that these tests run, once.
var buildTools = sync.OnceValue(func() error {
	fmt.Fprintln(os.Stderr, "building bin/helm, bin/helm3 and bin/kustomize if they are not there (minutes, once)")
	out, err := exec.Command("make", "-s", "-C", repository, "bin/helm", "bin/helm3", "bin/kustomize").CombinedOutput()
	if err != nil {
		return fmt.Errorf("building the tools: %w\n%s", err, out)
	}
	return nil
})

// tool returns the path of a tool in bin/.
func tool(t *testing.T, name string) string {
	t.Helper()
	if err := buildTools(); err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs(filepath.Join(repository, "bin", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// helm is one Helm program.
type helm struct {
	path string
	// hooks tells whether the chart may let a hook make the first
	// ImagePullSecret.
	hooks bool
	env   []string
}

// eachHelm runs a test with Helm 3 and with Helm 4.
func eachHelm(t *testing.T, test func(*testing.T, helm)) {
	t.Helper()
	for version, binary := range map[string]string{"Helm 3": "helm3", "Helm 4": "helm"} {
		t.Run(version, func(t *testing.T) {
			home := t.TempDir()
			test(t, helm{path: tool(t, binary), hooks: binary == "helm", env: append(os.Environ(),
				"KUBECONFIG="+filepath.Join(home, "no-kubeconfig"),
				"HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)})
		})
	}
}

// run runs Helm with values; it returns what Helm printed, and an error that
// holds what it complained about.
func (h helm) run(values string, args ...string) (stdout, stderr string, err error) {
	return execute(h.env, values, h.path, append(args, "--values", "-")...)
}

// execute runs a program to its end.
func execute(env []string, stdin, path string, args ...string) (stdout, stderr string, err error) {
	var out, complaints bytes.Buffer
	command := exec.Command(path, args...)
	command.Env, command.Stdin, command.Stdout, command.Stderr = env, strings.NewReader(stdin), &out, &complaints
	if err := command.Run(); err != nil {
		return out.String(), complaints.String(), fmt.Errorf("%s %s: %w\n%s",
			filepath.Base(path), strings.Join(args, " "), err, complaints.String())
	}
	return out.String(), complaints.String(), nil
}

// template renders the chart as the release that config/default equals.
func (h helm) template(t *testing.T, values string, args ...string) (objects, error) {
	t.Helper()
	out, _, err := h.run(values, append([]string{"template", name, chartDir, "--namespace", namespace}, args...)...)
	if err != nil {
		return nil, err
	}
	return parse(t, out), nil
}

// mustTemplate is template for values that are right.
func (h helm) mustTemplate(t *testing.T, values string, args ...string) objects {
	t.Helper()
	rendered, err := h.template(t, values, args...)
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

// objects are manifests by "<kind> [<namespace>/]<name>".
type objects map[string]*unstructured.Unstructured

// parse reads a stream of manifests.
func parse(t *testing.T, stream string) objects {
	t.Helper()
	all := objects{}
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(stream), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(object.Object) == 0 {
			continue
		}
		key := object.GetKind() + " " + object.GetName()
		if object.GetNamespace() != "" {
			key = object.GetKind() + " " + object.GetNamespace() + "/" + object.GetName()
		}
		if all[key] != nil {
			t.Errorf("%s is there twice", key)
		}
		all[key] = object
	}
}

// into converts the object of a key to its Go type.
func into[T any](t *testing.T, all objects, key string) *T {
	t.Helper()
	if all[key] == nil {
		t.Fatalf("there is no %s", key)
	}
	typed := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(all[key].Object, typed); err != nil {
		t.Fatal(err)
	}
	return typed
}
