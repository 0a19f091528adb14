package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/kube"
)

// apiServer answers every list with the same object, whatever it is a list of,
// and keeps what was asked for last.
type apiServer struct{ last atomic.Pointer[http.Request] }

// ServeHTTP refuses to list by a watch, which makes clients list, and otherwise
// lets watches wait.
func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch query := r.URL.Query(); {
	case query.Get("sendInitialEvents") != "":
		w.WriteHeader(http.StatusUnprocessableEntity)
	case query.Get("watch") != "":
		<-r.Context().Done()
	default:
		s.last.Store(r)
		answer := metav1.PartialObjectMetadataList{
			ListMeta: metav1.ListMeta{ResourceVersion: "1"},
			Items: []metav1.PartialObjectMetadata{{ObjectMeta: metav1.ObjectMeta{
				Namespace: "home", Name: "pull", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "someone"}},
			}}},
		}
		if forMetadata(r) {
			answer.TypeMeta = metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	}
}

// forMetadata tells whether metadata only is asked for.
func forMetadata(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList")
}

// managerOf returns a manager, with the operator's caches, of a cluster.
func managerOf(t *testing.T, s *apiServer) manager.Manager {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	scheme, mapper := runtime.NewScheme(), meta.NewDefaultRESTMapper(nil)
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"Secret", "Pod", "ServiceAccount"} {
		mapper.Add(corev1.SchemeGroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	mapper.Add(v1alpha1.GroupVersion.WithKind(v1alpha1.Kind), meta.RESTScopeRoot)
	mgr, err := ctrl.NewManager(&rest.Config{Host: server.URL}, ctrl.Options{
		Scheme: scheme, Cache: CacheOptions(), Metrics: metricsserver.Options{BindAddress: "0"},
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return mapper, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return mgr
}

func managersOwn(mgr manager.Manager) (cache.Cache, error) { return mgr.GetCache(), nil }

// secretsOf makes the cache of Secrets of a name, or of any that are kept, in a
// namespace or in all.
func secretsOf(namespace, name string) func(manager.Manager) (cache.Cache, error) {
	return func(mgr manager.Manager) (cache.Cache, error) {
		return newTargetCache(mgr, types.NamespacedName{Namespace: namespace, Name: name})
	}
}

// in makes a cache of a namespace, or of all.
func in(namespace string, make func(manager.Manager, string) (cache.Cache, error)) func(manager.Manager) (cache.Cache, error) {
	return func(mgr manager.Manager) (cache.Cache, error) { return make(mgr, namespace) }
}

// Of what there is much in a cluster no more is asked for and kept than needed:
// of Secrets, above all, no data, and none that are not ours to look at.
func TestCachesHoldWhatIsNeeded(t *testing.T) {
	for sentence, c := range map[string]struct {
		from                 func(manager.Manager) (cache.Cache, error)
		kind                 client.Object
		path, labels, fields string
		whole                bool // not metadata only
	}{
		"Secrets that are kept": {
			from: managersOwn, kind: kube.SecretMetadata(), path: "/api/v1/secrets", labels: v1alpha1.LabelOwnerUID,
		},
		"Secrets of a name": {
			from: secretsOf("", "pull"), kind: kube.SecretMetadata(), path: "/api/v1/secrets", fields: "metadata.name=pull",
		},
		"Secrets of a name in one namespace": {
			from: secretsOf("home", "pull"), kind: kube.SecretMetadata(), path: "/api/v1/namespaces/home/secrets",
			fields: "metadata.name=pull,metadata.namespace=home",
		},
		"Secrets that are kept in one namespace": {
			from: secretsOf("home", ""), kind: kube.SecretMetadata(), path: "/api/v1/namespaces/home/secrets",
			labels: v1alpha1.LabelOwnerUID, fields: "metadata.namespace=home",
		},
		"Namespaces": {from: managersOwn, kind: kube.NamespaceMetadata(), path: "/api/v1/namespaces"},
		"Pods": {
			from: in("", newPodCache), kind: kube.PodMetadata(), path: "/api/v1/pods", fields: "status.phase!=Failed,status.phase!=Succeeded",
		},
		"Pods of one namespace": {
			from: in("home", newPodCache), kind: kube.PodMetadata(), path: "/api/v1/namespaces/home/pods",
			fields: "status.phase!=Failed,status.phase!=Succeeded,metadata.namespace=home",
		},
		"ServiceAccounts": {
			from: in("", newAccountCache), kind: &corev1.ServiceAccount{}, path: "/api/v1/serviceaccounts", whole: true,
		},
		"ServiceAccounts of one namespace": {
			from: in("home", newAccountCache), kind: &corev1.ServiceAccount{}, path: "/api/v1/namespaces/home/serviceaccounts",
			fields: "metadata.namespace=home", whole: true,
		},
		"ImagePullSecrets": {
			from: managersOwn, kind: &v1alpha1.ImagePullSecret{}, path: "/apis/images.banzaicloud.io/v1alpha1/imagepullsecrets", whole: true,
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			server := &apiServer{}
			from, err := c.from(managerOf(t, server))
			if err != nil {
				t.Fatal(err)
			}
			stripped := cached(t, from, c.kind)
			asked := server.last.Load()
			query := asked.URL.Query()
			if asked.URL.Path != c.path || query.Get("labelSelector") != c.labels || query.Get("fieldSelector") != c.fields || forMetadata(asked) == c.whole {
				t.Errorf("asked for %s, only for metadata: %t", asked.URL, forMetadata(asked))
			}
			if len(stripped.GetManagedFields()) > 0 {
				t.Error("what is not needed is kept")
			}
		})
	}
}

// cached runs a cache of one kind and returns the object that comes into it.
func cached(t *testing.T, from cache.Cache, kind client.Object) client.Object {
	t.Helper()
	informer, err := from.GetInformer(t.Context(), kind, cache.BlockUntilSynced(false))
	if err != nil {
		t.Fatal(err)
	}
	came := make(chan client.Object, 1)
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) { came <- object.(client.Object) },
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- from.Start(ctx) }()
	found := <-came
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return found
}

// What is not meant to be cached can't be read from a cache by mistake, which
// would begin to hold all there is of it.
func TestNothingElseIsCached(t *testing.T) {
	server := &apiServer{}
	mgr := managerOf(t, server)
	accounts, err := newAccountCache(mgr, "")
	if err != nil {
		t.Fatal(err)
	}
	for sentence, from := range map[string]cache.Cache{"the manager's": mgr.GetCache(), "that of ServiceAccounts": accounts} {
		for _, kind := range []client.Object{&corev1.Secret{}, &corev1.Pod{}, &corev1.ConfigMap{}, &corev1.Namespace{}} {
			var missing *cache.ErrResourceNotCached
			if err := from.Get(t.Context(), client.ObjectKey{Namespace: "home", Name: "pull"}, kind); !errors.As(err, &missing) {
				t.Errorf("%s cache answers for a %T with %v", sentence, kind, err)
			}
		}
	}
	if asked := server.last.Load(); asked != nil {
		t.Errorf("asked for %s", asked.URL)
	}
}
