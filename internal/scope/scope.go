// Package scope knows which namespaces a grant selects now, by its rules and by
// the Pods that are there, and tells those who carry grants out when that
// changes.
package scope

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/internal/selector"
)

// Change is a namespace that a grant may select now and did not before, or the
// other way round.
type Change struct {
	Namespace string
	Grant     *grant.Grant
	// Arrived: the namespace is new, and a rule for namespaces selects it.
	Arrived bool
}

// Deps are what a Scope needs. All are required.
type Deps struct {
	Book *grant.Book
	// Namespaces holds metadata of Namespaces, in a cache.
	Namespaces client.Reader
	// Within are the only namespaces where the operator has rights; empty for
	// all. No other is selected.
	Within []string
	// NewPods makes caches for metadata of Pods that are not finished. They are
	// started when they are needed.
	NewPods func() ([]kube.Place, error)
	// Stands tells whether a grant's Secret stands in a namespace.
	Stands func(ctx context.Context, g *grant.Grant, namespace string) bool
	// Changed is called, from any goroutine, with each change.
	Changed func(Change)
	// OutOfReachChanged is called, from any goroutine, with the name of a grant
	// that may select other namespaces now that are not within reach.
	OutOfReachChanged func(grant string)
	// Grace is how long a namespace stays selected after the last of the Pods
	// that select it has left.
	Grace time.Duration
	Clock clock.WithDelayedExecution
}

// Scope evaluates selections. It is safe for concurrent use.
type Scope struct {
	Deps

	pods      podWatch
	lingering lingering
}

// New returns a Scope that watches no Pods yet.
func New(d Deps) *Scope { return &Scope{Deps: d} }

// within tells whether the operator has rights in a namespace.
func (s *Scope) within(namespace string) bool {
	return len(s.Within) == 0 || slices.Contains(s.Within, namespace)
}

// Namespace returns a namespace's metadata from the cache; nil if there is none,
// it is terminating or it is not within reach.
func (s *Scope) Namespace(ctx context.Context, name string) (*metav1.PartialObjectMetadata, error) {
	if !s.within(name) {
		return nil, nil //nolint:nilnil // there being none is no failure
	}
	namespace := kube.NamespaceMetadata()
	err := s.Namespaces.Get(ctx, types.NamespacedName{Name: name}, namespace)
	if err != nil || !namespace.DeletionTimestamp.IsZero() {
		if apierrors.IsNotFound(err) {
			err = nil
		}
		return nil, err
	}
	return namespace, nil
}

// Selected returns the namespaces that a grant selects now, those that are
// terminating or not within reach left out. Pods must be watched if the grant
// has rules for them.
func (s *Scope) Selected(ctx context.Context, g *grant.Grant) ([]string, error) {
	if g.Namespace != "" {
		namespace, err := s.Namespace(ctx, g.Namespace)
		if namespace == nil {
			return nil, err
		}
		return []string{g.Namespace}, nil
	}
	return s.those(ctx, func(namespace *metav1.PartialObjectMetadata) (bool, error) {
		if !s.within(namespace.Name) {
			return false, nil
		}
		return s.Selects(ctx, g, namespace)
	})
}

// OutOfReach returns the namespaces that a rule of a grant for namespaces
// selects and that are not within reach, sorted. Which ones Pods would select
// can't be known.
func (s *Scope) OutOfReach(ctx context.Context, g *grant.Grant) ([]string, error) {
	if len(s.Within) == 0 || g.Namespace != "" {
		return nil, nil
	}
	names, err := s.those(ctx, func(namespace *metav1.PartialObjectMetadata) (bool, error) {
		return !s.within(namespace.Name) && verdictOn(g, namespaceOf(namespace)) == selector.ByRule, nil
	})
	slices.Sort(names)
	return names, err
}

// those returns the names of the namespaces for which is holds, of those that are
// not terminating.
func (s *Scope) those(ctx context.Context, is func(*metav1.PartialObjectMetadata) (bool, error)) ([]string, error) {
	namespaces := &metav1.PartialObjectMetadataList{}
	namespaces.SetGroupVersionKind(kube.ListKind(kube.NamespaceMetadata()))
	// The list is only looked at, so copies would be waste.
	if err := s.Namespaces.List(ctx, namespaces, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	var names []string
	for i := range namespaces.Items {
		namespace := &namespaces.Items[i]
		if !namespace.DeletionTimestamp.IsZero() {
			continue
		}
		yes, err := is(namespace)
		if err != nil {
			return nil, err
		}
		if yes {
			names = append(names, namespace.Name)
		}
	}
	return names, nil
}

// Selects tells whether a grant selects a namespace, by its Pods if need be,
// which must be watched then.
func (s *Scope) Selects(ctx context.Context, g *grant.Grant, namespace *metav1.PartialObjectMetadata) (bool, error) {
	switch verdictOn(g, namespaceOf(namespace)) {
	case selector.ByRule:
		return true, nil
	case selector.NeedsPod:
		return s.selectedByPod(ctx, g, namespace.Name)
	default:
		return false, nil
	}
}

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// NamespaceEvents turns what happens to Namespaces into changes. What is there
// at the start is not news: each grant looks at all namespaces by itself. It
// puts nothing into the queue of the controller that it is on.
func (s *Scope) NamespaceEvents() handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ queue) {
			if e.IsInInitialList {
				return
			}
			namespace := namespaceOf(e.Object)
			for _, g := range s.Book.Reaching(namespace.Name) {
				switch verdictOn(g, namespace) {
				case selector.ByRule:
					s.changed(Change{Namespace: namespace.Name, Grant: g, Arrived: true})
				case selector.NeedsPod: // whose event may have come before this one
					s.changed(Change{Namespace: namespace.Name, Grant: g})
				case selector.Excluded, selector.NotSelected:
				}
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ queue) {
			before, after := namespaceOf(e.ObjectOld), namespaceOf(e.ObjectNew)
			ending := e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero()
			for _, g := range s.Book.Reaching(after.Name) {
				if ending || verdictOn(g, before) != verdictOn(g, after) {
					s.changed(Change{Namespace: after.Name, Grant: g})
				}
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ queue) {
			s.lingering.endAll(func(p place) bool { return p.namespace == e.Object.GetName() })
			for _, g := range s.Book.Reaching(e.Object.GetName()) {
				s.changed(Change{Namespace: e.Object.GetName(), Grant: g})
			}
		},
	}
}

// changed tells of a namespace those who are concerned.
func (s *Scope) changed(change Change) {
	if s.within(change.Namespace) {
		s.Changed(change)
		return
	}
	s.OutOfReachChanged(change.Grant.Name)
}

// verdictOn decides on a namespace without looking at its Pods.
func verdictOn(g *grant.Grant, namespace selector.Namespace) selector.Verdict {
	switch g.Namespace {
	case "":
		return g.Selection.Namespace(namespace)
	case namespace.Name:
		return selector.ByRule
	default:
		return selector.NotSelected
	}
}

func namespaceOf(object client.Object) selector.Namespace {
	return selector.Namespace{Name: object.GetName(), Labels: object.GetLabels(), Annotations: object.GetAnnotations()}
}
