package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// bench is what all measurements share.
type bench struct {
	settings  settings
	results   *table
	progress  *progress
	directory string
	binary    string
}

// newBench builds the operator as `make build` does, unless it is given one.
func newBench(ctx context.Context, s settings, results *table) (*bench, error) {
	b := &bench{settings: s, results: results, progress: newProgress(os.Stderr), binary: s.binary}
	if b.binary != "" {
		return b, nil
	}
	var err error
	if b.directory, err = os.MkdirTemp("", "bench-"); err != nil {
		return nil, err
	}
	// As the image is built: memory figures are those of what is shipped.
	if err := os.Setenv("CGO_ENABLED", "0"); err != nil {
		return nil, err
	}
	err = b.progress.during("building the operator", nil, func() error {
		b.binary, err = operator.Build(ctx, b.directory, "-trimpath", "-ldflags=-s -w")
		return err
	})
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) close() {
	if b.directory != "" {
		_ = os.RemoveAll(b.directory)
	}
}

// Names of what the measurements are made with.
const (
	home           = "bench-home" // namespace of the source Secrets
	targetLabel    = "bench.example.com/target"
	podLabel       = "bench.example.com/pod"
	targetSecret   = "pull"
	plainSecret    = "hand"
	grantName      = "bench"
	staticSource   = "static"
	ecrSource      = "account"
	plainOwnerName = "owner" // owns the plain client's Secrets
)

// world is a cluster with namespaces, a cloud, and the operator on it.
type world struct {
	*bench
	n        int
	cluster  *cluster.Cluster
	cloud    *fakecloud.Cloud
	admin    kubernetes.Interface
	objects  client.Client
	operator *operator.Process
	plain    *plainClient
	// kept and made observe the operator's Secrets and the plain client's.
	kept, made *observer
	stop       context.CancelFunc // ends the observers
	passwords  int                // how many the source had
	sampled    int                // how many namespaces were made for samples
}

// newWorld starts a cluster with n namespaces and the operator, quiet.
// apiServerArgs are further flags of the API server.
func (b *bench) newWorld(ctx context.Context, n int, apiServerArgs ...string) (_ *world, err error) {
	w := &world{bench: b, n: n, stop: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.cluster, err = cluster.Start(ctx, cluster.Options{Progress: os.Stderr, APIServerArgs: apiServerArgs}); err != nil {
		return w, err
	}
	if w.cloud, err = fakecloud.Start(ctx, fakecloud.Options{}); err != nil {
		return w, err
	}
	if err := w.connect(); err != nil {
		return w, err
	}
	if err := b.results.setVersions(w.admin); err != nil {
		return w, err
	}
	if err := operator.Install(ctx, w.cluster.Config(), operator.Fence{}); err != nil {
		return w, err
	}
	if err := w.plain.createNamespaces(ctx, n); err != nil {
		return w, err
	}
	if err := w.prepareSources(ctx); err != nil {
		return w, err
	}
	if err := w.observe(ctx); err != nil {
		return w, err
	}
	if err := w.awaitGarbageCollector(ctx); err != nil {
		return w, err
	}
	if err := w.startOperator(ctx); err != nil {
		return w, err
	}
	return w, w.quiet(ctx)
}

// awaitGarbageCollector waits until the garbage collector knows of
// ImagePullSecrets, for which it looks twice a minute. Before that it retries
// everything that they own, ten objects a second, for minutes.
func (w *world) awaitGarbageCollector(ctx context.Context) error {
	return w.progress.during("waiting until the garbage collector knows ImagePullSecrets", w.made.describe, func() error {
		owner := &v1alpha1.ImagePullSecret{ObjectMeta: metav1.ObjectMeta{Name: "probe"}}
		owner.Spec.Target.Secret.Name = plainSecret
		if err := w.objects.Create(ctx, owner); err != nil {
			return err
		}
		probing := &plainClient{api: w.admin, owner: owner}
		if err := probing.apply(ctx, home, 0); err != nil {
			return err
		}
		if _, err := w.made.await(ctx, w.made.all(1)); err != nil {
			return err
		}
		if err := w.objects.Delete(ctx, owner); err != nil {
			return err
		}
		_, err := w.made.await(ctx, w.made.all(0))
		return err
	})
}

// connect makes the clients, none of which limits its own rate.
func (w *world) connect() (err error) {
	if w.admin, err = kubernetes.NewForConfig(w.cluster.Config()); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	if w.objects, err = client.New(w.cluster.Config(), client.Options{Scheme: scheme}); err != nil {
		return err
	}
	w.plain, err = newPlainClient(w.cluster.Config(), w.progress)
	return err
}

// prepareSources makes the source Secret, and the object that owns the plain
// client's Secrets, which selects nothing itself.
func (w *world) prepareSources(ctx context.Context) error {
	if err := w.plain.createNamespace(ctx, home, nil); err != nil {
		return err
	}
	source := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: staticSource},
		Type:       corev1.SecretTypeDockerConfigJson,
		Data:       map[string][]byte{corev1.DockerConfigJsonKey: document(0)},
	}
	if _, err := w.admin.CoreV1().Secrets(home).Create(ctx, source, metav1.CreateOptions{}); err != nil {
		return err
	}
	owner := &v1alpha1.ImagePullSecret{ObjectMeta: metav1.ObjectMeta{Name: plainOwnerName}}
	owner.Spec.Suspend = true
	owner.Spec.Target.Secret.Name = plainSecret
	if err := w.objects.Create(ctx, owner); err != nil {
		return err
	}
	w.plain.owner = owner
	return nil
}

// observe starts the observers.
func (w *world) observe(ctx context.Context) (err error) {
	ctx, w.stop = context.WithCancel(ctx)
	if w.kept, err = newObserver(ctx, w.cluster.Config(), targetSecret); err != nil {
		return err
	}
	w.made, err = newObserver(ctx, w.cluster.Config(), plainSecret)
	return err
}

// startOperator runs the operator as its own ServiceAccount.
func (w *world) startOperator(ctx context.Context) error {
	kubeconfig, err := w.cluster.ServiceAccountKubeconfig(ctx, operator.Namespace, operator.ServiceAccount)
	if err != nil {
		return err
	}
	w.operator, err = operator.Start(ctx, operator.Options{Binary: w.binary, Kubeconfig: kubeconfig, Env: w.cloud.Env()})
	return err
}

// grant makes an ImagePullSecret with a source.
func (w *world) grant(ctx context.Context, source string, target func(*v1alpha1.TargetConfig)) error {
	object := &v1alpha1.ImagePullSecret{ObjectMeta: metav1.ObjectMeta{Name: grantName}}
	object.Spec.Registry.Credentials = []v1alpha1.CredentialSource{{Namespace: home, Name: source}}
	object.Spec.Target.Secret.Name = targetSecret
	target(&object.Spec.Target)
	return w.objects.Create(ctx, object)
}

// byNamespaceLabel selects the labelled namespaces.
func byNamespaceLabel(target *v1alpha1.TargetConfig) {
	target.Namespaces.Labels = []metav1.LabelSelector{{MatchLabels: map[string]string{targetLabel: "yes"}}}
}

// byPodLabel selects namespaces that hold a labelled Pod.
func byPodLabel(target *v1alpha1.TargetConfig) {
	target.NamespacesWithPods.Labels = []metav1.LabelSelector{{MatchLabels: map[string]string{podLabel: "yes"}}}
}

// ensureGranted makes the usual ImagePullSecret unless it is there, and waits
// for its Secrets and for quiet.
func (w *world) ensureGranted(ctx context.Context) error {
	if w.kept.total() == w.n {
		return nil
	}
	return w.grantAll(ctx, byNamespaceLabel)
}

// grantAll makes an ImagePullSecret for all namespaces, and waits for its Secrets
// and for quiet.
func (w *world) grantAll(ctx context.Context, target func(*v1alpha1.TargetConfig)) error {
	err := w.progress.during("writing the Secrets", w.kept.describe, func() error {
		if err := w.grant(ctx, staticSource, target); err != nil {
			return err
		}
		_, err := w.kept.await(ctx, w.kept.all(w.n))
		return err
	})
	return errors.Join(err, w.quiet(ctx))
}

// ungrant deletes the ImagePullSecret and waits until its Secrets are gone.
func (w *world) ungrant(ctx context.Context) error {
	err := w.progress.during("removing the Secrets", w.kept.describe, func() error {
		object := &v1alpha1.ImagePullSecret{ObjectMeta: metav1.ObjectMeta{Name: grantName}}
		if err := client.IgnoreNotFound(w.objects.Delete(ctx, object)); err != nil {
			return err
		}
		_, err := w.kept.await(ctx, w.kept.all(0))
		return err
	})
	return errors.Join(err, w.quiet(ctx))
}

// changeSource gives the source Secret another password. It is one write of a
// Secret, verb PUT.
func (w *world) changeSource(ctx context.Context) error {
	secrets := w.admin.CoreV1().Secrets(home)
	source, err := secrets.Get(ctx, staticSource, metav1.GetOptions{})
	if err != nil {
		return err
	}
	w.passwords++
	source.Data[corev1.DockerConfigJsonKey] = document(w.passwords)
	_, err = secrets.Update(ctx, source, metav1.UpdateOptions{})
	return err
}

// close ends everything, also what is only half there.
func (w *world) close() error {
	w.stop()
	var errs []error
	if w.operator != nil {
		if err := w.operator.Stop(); err != nil {
			errs = append(errs, fmt.Errorf("stopping the operator: %w", err))
		}
	}
	if w.cloud != nil {
		w.cloud.Stop()
	}
	if w.cluster != nil {
		errs = append(errs, w.cluster.Stop())
	}
	return errors.Join(errs...)
}
