package kube

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// apiServer lists one Secret, named pull, in every namespace, unless it refuses
// the namespace.
type apiServer struct {
	refused atomic.Pointer[string]
	broken  atomic.Bool
	asked   chan struct{} // has a value from when a broken one is asked
}

// ServeHTTP refuses to list by a watch, which makes clients list, and otherwise
// lets watches wait.
func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	namespace := strings.Split(r.URL.Path, "/")[4]
	refused := s.refused.Load()
	w.Header().Set("Content-Type", "application/json")
	switch query := r.URL.Query(); {
	case s.broken.Load():
		w.WriteHeader(http.StatusInternalServerError)
		select {
		case s.asked <- struct{}{}:
		default:
		}
	case refused != nil && *refused == namespace:
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
			Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: "no right",
		})
	case query.Get("sendInitialEvents") != "":
		w.WriteHeader(http.StatusUnprocessableEntity)
	case query.Get("watch") != "":
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	default:
		_ = json.NewEncoder(w).Encode(metav1.PartialObjectMetadataList{
			TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"},
			ListMeta: metav1.ListMeta{ResourceVersion: "1"},
			Items:    []metav1.PartialObjectMetadata{{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "pull"}}},
		})
	}
}

func (s *apiServer) refuse(namespace string) { s.refused.Store(&namespace) }

// patient makes the Patient of a namespace's Secrets, which nobody runs yet.
func patient(t *testing.T, url, namespace string) *Patient {
	t.Helper()
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Secret"), meta.RESTScopeNamespace)
	made, err := NewPatient(func(failed toolscache.WatchErrorHandlerWithContext) (cache.Cache, error) {
		return cache.New(&rest.Config{Host: url}, cache.Options{
			Scheme: runtime.NewScheme(), Mapper: mapper, ReaderFailOnMissingInformer: true, DefaultWatchErrorHandler: failed,
			ByObject: map[client.Object]cache.ByObject{
				SecretMetadata(): {Field: fields.OneTermEqualSelector("metadata.namespace", namespace)},
			},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// added is a handler that passes on what is added.
type added struct {
	toolscache.ResourceEventHandlerFuncs
	came chan addition
}

type addition struct {
	key     string
	initial bool
}

func (a added) OnAdd(object any, initial bool) {
	key, _ := toolscache.MetaNamespaceKeyFunc(object)
	a.came <- addition{key, initial}
}

// A namespace that may not be watched holds up none of the others, is told of,
// and is caught up with once it may be; what it holds then is news.
func TestARefusedWatchHoldsUpNobody(t *testing.T) {
	api := &apiServer{}
	api.refuse("team-b")
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel) // before the server closes, which waits for watches
	a, b := patient(t, server.URL, "team-a"), patient(t, server.URL, "team-b")
	all, err := StartInformers(ctx, ctx, []Place{{"team-a", a}, {"team-b", b}}, SecretMetadata(), "Secrets")
	if err != nil {
		t.Fatal(err)
	}
	if !a.WaitForCacheSync(ctx) || !b.WaitForCacheSync(ctx) {
		t.Fatal("a cache is waited for")
	}
	handler := added{came: make(chan addition, 10)}
	if err := all.AddEventHandler(handler); err != nil {
		t.Fatal(err)
	}
	expectKnown(t, all, "team-a/pull")
	if first := <-handler.came; first != (addition{"team-a/pull", true}) {
		t.Errorf("told of %v", first)
	}
	refused := all.Refused()
	if len(refused) != 1 || !apierrors.IsForbidden(refused["team-b"]) {
		t.Errorf("refused are %v", refused)
	}
	if err := b.Get(ctx, client.ObjectKey{Namespace: "team-b", Name: "pull"}, SecretMetadata()); !apierrors.IsForbidden(err) {
		t.Errorf("reading gives %v", err)
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(ListKind(SecretMetadata()))
	if err := b.List(ctx, list); err != nil || len(list.Items) > 0 {
		t.Errorf("listing gives %v, %v", list.Items, err)
	}

	api.refuse("")
	if second := <-handler.came; second != (addition{"team-b/pull", false}) {
		t.Errorf("told of %v", second)
	}
	expectKnown(t, all, "team-a/pull", "team-b/pull")
	if refused := all.Refused(); len(refused) > 0 {
		t.Errorf("refused are %v", refused)
	}
	if err := b.Get(ctx, client.ObjectKey{Namespace: "team-b", Name: "pull"}, SecretMetadata()); err != nil {
		t.Errorf("reading gives %v", err)
	}
}

// expectKnown checks what is known, by every way of asking.
func expectKnown(t *testing.T, all Objects, keys ...string) {
	t.Helper()
	var listed []string
	for _, object := range all.List() {
		key, _ := toolscache.MetaNamespaceKeyFunc(object)
		listed = append(listed, key)
	}
	if slices.Sort(listed); !slices.Equal(listed, keys) {
		t.Errorf("known are %q, want %q", listed, keys)
	}
	for _, key := range keys {
		namespace, _, _ := strings.Cut(key, "/")
		_, found, err := all.GetByKey(key)
		if in, _ := all.ByIndex(toolscache.NamespaceIndex, namespace); !found || err != nil || len(in) != 1 {
			t.Errorf("%s: found %t, %v; in its namespace are %d", key, found, err, len(in))
		}
	}
	if _, found, err := all.GetByKey("team-c/pull"); found || err != nil {
		t.Errorf("what is not there is found: %t, %v", found, err)
	}
}

// Only a refusal is waited out elsewhere; any other error may end at any moment.
func TestAnotherErrorIsWaitedFor(t *testing.T) {
	p := &Patient{}
	informer := toolscache.NewSharedIndexInformer(&toolscache.ListWatch{}, &corev1.Secret{}, 0, toolscache.Indexers{})
	p.informer = informer
	reflector := toolscache.NewReflector(&toolscache.ListWatch{}, &corev1.Secret{}, informer.GetStore(), time.Hour)
	p.failed(t.Context(), reflector, apierrors.NewInternalError(context.DeadlineExceeded))
	if p.settled() || p.Refused() != nil {
		t.Errorf("settled is %t, refused %v", p.settled(), p.Refused())
	}
	p.failed(t.Context(), reflector, apierrors.NewForbidden(corev1.Resource("secrets"), "", context.Canceled))
	if !p.settled() || p.Refused() == nil {
		t.Errorf("settled is %t, refused %v", p.settled(), p.Refused())
	}
}

// Whoever began to read while the API server failed is let go once it refuses.
func TestAReaderIsLetGoWhenTheWatchIsRefused(t *testing.T) {
	api := &apiServer{asked: make(chan struct{}, 1)}
	api.broken.Store(true)
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	p := patient(t, server.URL, "team-b")
	go func() { _ = p.Start(ctx) }()
	if _, err := p.GetInformer(ctx, SecretMetadata()); err != nil {
		t.Fatal(err)
	}
	<-api.asked
	read := make(chan error, 1)
	go func() {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
		read <- p.List(ctx, list)
	}()
	// The next try is due after client-go's first wait, of nearly a second.
	api.refuse("team-b")
	api.broken.Store(false)
	select {
	case err := <-read:
		if err != nil {
			t.Errorf("reading what may not be: %v, want nothing and no error", err)
		}
	case <-time.After(time.Minute):
		t.Error("the reader waits for what never comes")
	}
}
