package controllers

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	fakesource "k8s.io/client-go/tools/cache/testing"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/kube"
)

// secretCache runs a cache of some Secrets, which differs from the operator's
// own only in that no API server lists them.
func secretCache(t *testing.T, secrets ...*metav1.PartialObjectMetadata) cache.Cache {
	t.Helper()
	listed := fakesource.NewFakeControllerSource()
	for _, secret := range secrets {
		listed.Add(secret)
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"Secret", "SecretList"} {
		mapper.Add(corev1.SchemeGroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	made, err := cache.New(&rest.Config{}, cache.Options{
		Mapper: mapper, ReaderFailOnMissingInformer: true,
		ByObject: map[client.Object]cache.ByObject{kube.SecretMetadata(): {Transform: kube.TransformTarget}},
		NewInformer: func(_ toolscache.ListerWatcher, kind runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
			return toolscache.NewSharedIndexInformer(listed, kind, resync, indexers)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := made.GetInformer(t.Context(), kube.SecretMetadata(), cache.BlockUntilSynced(false)); err != nil {
		t.Fatal(err)
	}
	go func() { _ = made.Start(t.Context()) }()
	if !made.WaitForCacheSync(t.Context()) {
		t.Fatal("the Secrets are not known")
	}
	return made
}

// keptFor is a Secret that is kept for the object of a UID; "" for a foreign one.
func keptFor(uid, namespace, name string) *metav1.PartialObjectMetadata {
	secret := kube.SecretMetadata()
	secret.Namespace, secret.Name = namespace, name
	if uid != "" {
		secret.Labels = map[string]string{v1alpha1.LabelOwnerUID: uid}
	}
	return secret
}

func TestOwnedSecretsAreFound(t *testing.T) {
	here, there, others := keptFor("mine", "a", "pull"), keptFor("mine", "b", "pull"), keptFor("others", "c", "pull")
	foreign, elsewhere := keptFor("", "d", "pull"), keptFor("mine", "b", "other")
	cases := map[string]struct {
		caches targetCaches
		want   []string
	}{
		"in the cache of all": {
			targetCaches{{}: secretCache(t, here, there, others)}, []string{"a/pull", "b/pull"}},
		"in the cache of a name, where foreign ones are too": {
			targetCaches{{Name: "pull"}: secretCache(t, here, there, others, foreign)}, []string{"a/pull", "b/pull"}},
		"in the caches of several names": {
			targetCaches{{Name: "pull"}: secretCache(t, here, others), {Name: "other"}: secretCache(t, elsewhere)}, []string{"a/pull", "b/other"}},
		"in the caches of several namespaces": {
			targetCaches{{Namespace: "a"}: secretCache(t, here), {Namespace: "b"}: secretCache(t, there, elsewhere)}, []string{"a/pull", "b/other", "b/pull"}},
		"nowhere if there are none": {
			targetCaches{{}: secretCache(t, others)}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if err := c.caches.Index(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			owned, err := c.caches.OwnedBy(t.Context(), types.UID("mine"))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, key := range owned {
				got = append(got, key.String())
			}
			if slices.Sort(got); !slices.Equal(got, c.want) {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}
