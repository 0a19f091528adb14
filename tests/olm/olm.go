// Package olm runs the Operator Lifecycle Manager on the node of a test cluster:
// its two operators and a server of catalogs, as processes. Nothing of it runs in
// Pods: a catalog has its bundles in it, for there is nothing that unpacks them.
package olm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/operator"
)

const (
	// Namespace is OLM's own, and that of catalogs for all namespaces.
	Namespace = "olm"

	// CatalogAddress is where a CatalogSource finds the catalog. It is an
	// address of the node, where nobody else takes the port.
	CatalogAddress = "127.0.0.1:" + catalogPort

	catalogPort = "50051"

	// deadline is for what the API server does with OLM's objects.
	deadline = time.Minute
)

// Options are what OLM is run with.
type Options struct {
	// Progress is as in cluster.Options.
	Progress io.Writer

	// OPM is the path of the program opm.
	OPM string

	// PlanRetry is how long OLM tries what fails of an InstallPlan, in place of
	// its default of a minute.
	PlanRetry time.Duration
}

// OLM is a running OLM.
type OLM struct {
	cluster   *cluster.Cluster
	api       client.Client
	opm       string
	installed []*unstructured.Unstructured // what is to be deleted
	operators []*cluster.Program
	catalog   *cluster.Program // nil if none is served
}

// Start builds OLM if needed, and runs it in a cluster that has a node. Stop ends
// it; after an error nothing is left.
func Start(ctx context.Context, c *cluster.Cluster, o Options) (*OLM, error) {
	binaries, err := cluster.BuildOLM(ctx, o.Progress)
	if err != nil {
		return nil, err
	}
	api, err := client.New(c.Config(), client.Options{})
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	olm := &OLM{cluster: c, api: api, opm: o.OPM}
	if err := olm.bringUp(ctx, binaries, o.PlanRetry); err != nil {
		return nil, errors.Join(fmt.Errorf("start OLM: %w", err), olm.Stop(context.WithoutCancel(ctx)))
	}
	return olm, nil
}

func (o *OLM) bringUp(ctx context.Context, binaries string, planRetry time.Duration) error {
	manifests, err := exec.CommandContext(ctx, filepath.Join(binaries, "crds")).Output()
	if err != nil {
		return fmt.Errorf("read OLM's CRDs: %w", err)
	}
	if err := o.install(ctx, manifests); err != nil {
		return err
	}
	kubeconfig := o.cluster.Kubeconfig()
	for _, run := range []struct {
		name  string
		flags []string
	}{
		{"olm", []string{"--namespace=" + Namespace}},
		{"catalog", []string{"--namespace=" + Namespace, "--install-plan-retry-timeout=" + planRetry.String()}},
	} {
		command := append([]string{filepath.Join(binaries, run.name)}, run.flags...)
		program, err := o.cluster.StartOnNode(run.name, command, "KUBECONFIG="+kubeconfig)
		if err != nil {
			return err
		}
		o.operators = append(o.operators, program)
	}
	return nil
}

// install makes OLM's namespace and its CRDs, and returns when the API server
// serves them.
func (o *OLM) install(ctx context.Context, manifests []byte) error {
	namespace := &unstructured.Unstructured{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	namespace.SetName(Namespace)
	objects, err := operator.Decode(manifests)
	if err != nil {
		return fmt.Errorf("read OLM's CRDs: %w", err)
	}
	for _, object := range append(objects, namespace) {
		if err := o.api.Create(ctx, object); err != nil {
			return err
		}
		o.installed = append(o.installed, object)
	}
	for _, crd := range objects {
		if err := o.await(ctx, crd.GetName()+" is served", func(ctx context.Context) (bool, error) { return o.established(ctx, crd) }); err != nil {
			return err
		}
	}
	return nil
}

// established says whether the API server serves a CRD.
func (o *OLM) established(ctx context.Context, crd *unstructured.Unstructured) (bool, error) {
	if err := o.api.Get(ctx, client.ObjectKeyFromObject(crd), crd); err != nil {
		return false, err
	}
	status, _ := crd.Object["status"].(map[string]any)
	conditions, _ := status["conditions"].([]any) // at first there are none, or null
	for _, condition := range conditions {
		fields, _ := condition.(map[string]any)
		if fields["type"] == "Established" && fields["status"] == string(metav1.ConditionTrue) {
			return true, nil
		}
	}
	return false, nil
}

// Serve serves the file-based catalog in a directory at CatalogAddress, instead
// of the one before. OLM sees that the server is another one and reads it.
func (o *OLM) Serve(catalog string) error {
	if err := o.stopCatalog(); err != nil {
		return err
	}
	var err error
	o.catalog, err = o.cluster.StartOnNode("opm", []string{
		o.opm, "serve", catalog, "--port=" + catalogPort, "--pprof-addr=",
		"--termination-log=" + filepath.Join(o.cluster.Dir(), "logs", "opm-termination.log"),
	}, "TMPDIR="+o.cluster.Dir())
	return err
}

func (o *OLM) stopCatalog() error {
	if o.catalog == nil {
		return nil
	}
	stopped := o.catalog
	o.catalog = nil
	return stopped.Stop()
}

// Stop ends OLM and deletes its CRDs, all that is of their kinds, and its
// namespace. The error tells, too, if a program had ended by itself.
func (o *OLM) Stop(ctx context.Context) error {
	errs := []error{o.stopCatalog()}
	for _, program := range o.operators {
		errs = append(errs, program.Stop())
	}
	for _, object := range o.installed {
		errs = append(errs, client.IgnoreNotFound(o.api.Delete(ctx, object)))
	}
	for _, object := range o.installed {
		errs = append(errs, o.await(ctx, object.GetName()+" is gone", func(ctx context.Context) (bool, error) {
			err := o.api.Get(ctx, client.ObjectKeyFromObject(object), object)
			return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
		}))
	}
	return errors.Join(errs...)
}

func (o *OLM) await(ctx context.Context, what string, done wait.ConditionWithContextFunc) error {
	if err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, deadline, true, done); err != nil {
		return fmt.Errorf("wait until %s: %w", what, err)
	}
	return nil
}
