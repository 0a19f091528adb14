package scope

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/internal/rights"
)

type deletedUnseen = toolscache.DeletedFinalStateUnknown

// selectedByPod tells whether a namespace holds a Pod that a grant matches, or
// did so until a short time ago.
func (s *Scope) selectedByPod(ctx context.Context, g *grant.Grant, namespace string) (bool, error) {
	pods, err := s.pods.in(namespace)
	if err != nil {
		return false, err
	}
	here := place{grant: g.Name, namespace: namespace}
	for _, object := range pods {
		if pod, ok := object.(*metav1.PartialObjectMetadata); ok && matches(g, pod) {
			s.lingering.end(here)
			return true, nil
		}
	}
	if !s.Stands(ctx, g, namespace) {
		s.lingering.end(here)
		return false, nil
	}
	return s.lingering.left(here, s.Grace, s.Clock, func() {
		if g := s.Book.Get(here.grant); g != nil {
			s.Changed(Change{Namespace: namespace, Grant: g})
		}
	}), nil
}

// podWatch is the state of the watch on Pods.
type podWatch struct {
	starting sync.Mutex // held while the watch starts, which takes time

	mu    sync.RWMutex
	users map[string]bool
	pods  kube.Objects       // nil while Pods are not watched
	stop  context.CancelFunc // ends the watch
}

// want notes whether a grant needs Pods to be watched, ends a watch that nobody
// needs any more, and tells whether one is to be started.
func (w *podWatch) want(grant string, wanted bool) (start bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if wanted {
		if w.users == nil {
			w.users = map[string]bool{}
		}
		w.users[grant] = true
		return w.pods == nil
	}
	delete(w.users, grant)
	if len(w.users) == 0 && w.pods != nil {
		w.stop()
		w.pods, w.stop = nil, nil
	}
	return false
}

// started notes a watch, and ends it if nobody needs it any more.
func (w *podWatch) started(pods kube.Objects, stop context.CancelFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.users) == 0 {
		stop()
		return
	}
	w.pods, w.stop = pods, stop
}

// in returns the Pods in a namespace, which the caller must not change.
func (w *podWatch) in(namespace string) ([]any, error) {
	pods := w.watched()
	if pods == nil {
		return nil, errors.New("there is no watch on Pods")
	}
	return pods.ByIndex(toolscache.NamespaceIndex, namespace)
}

func (w *podWatch) watched() kube.Objects {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.pods
}

// WatchPods notes whether a grant needs Pods to be watched; they are only while
// one does, for there are many. When it returns with known set, all Pods are
// known, but for those of a namespace that err is about.
func (s *Scope) WatchPods(ctx context.Context, grant string, wanted bool) (known bool, err error) {
	if !wanted {
		s.lingering.endAll(func(p place) bool { return p.grant == grant })
		s.pods.want(grant, false)
		return false, nil
	}
	if err := s.needPods(ctx, grant); err != nil {
		return false, fmt.Errorf("watching Pods: %w; the operator needs the rule %s", err, rights.ForPods)
	}
	return true, s.podsRefused(ctx)
}

// needPods starts the watch on Pods, if there is none yet.
func (s *Scope) needPods(ctx context.Context, grant string) error {
	if !s.pods.want(grant, true) {
		return nil
	}
	s.pods.starting.Lock()
	defer s.pods.starting.Unlock()
	if !s.pods.want(grant, true) {
		return nil // someone else started it meanwhile
	}
	// The watch outlives this call.
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	pods, err := s.startPods(ctx, life)
	if err != nil {
		stop()
		return err
	}
	s.pods.started(pods, stop)
	return nil
}

// podsRefused says in which namespace, of those that are there, Pods may not be
// watched, if there is one.
func (s *Scope) podsRefused(ctx context.Context) error {
	pods, ok := s.pods.watched().(kube.Informers)
	if !ok {
		return nil
	}
	refused := pods.Refused()
	for _, name := range slices.Sorted(maps.Keys(refused)) {
		namespace, err := s.Namespace(ctx, name)
		if err != nil {
			return err
		}
		if namespace != nil {
			return fmt.Errorf("watching Pods: %w; the operator needs, in %s, the rule %s",
				refused[name], rights.Mode{Namespaces: true}.Role(name), rights.ForPods)
		}
	}
	return nil
}

// startPods starts a watch on Pods that lasts as long as life, and returns once
// all of them are known or ctx or the deadline ends.
func (s *Scope) startPods(ctx, life context.Context) (kube.Objects, error) {
	from, err := s.NewPods()
	if err != nil {
		return nil, err
	}
	pods, err := kube.StartInformers(ctx, life, from, kube.PodMetadata(), "Pods")
	if err != nil {
		return nil, err
	}
	return pods, pods.AddEventHandler(podEvents{s})
}

// podEvents turns what happens to Pods into changes; it is a handler of
// client-go, since Pods are watched only while a grant has rules for them.
type podEvents struct{ *Scope }

// OnAdd brings namespaces that a Pod makes selected.
func (p podEvents) OnAdd(object any, isInInitialList bool) {
	pod, ok := object.(*metav1.PartialObjectMetadata)
	if !ok || isInInitialList {
		return
	}
	p.tell(pod.Namespace, func(g *grant.Grant) bool {
		if !matches(g, pod) {
			return false
		}
		p.lingering.end(place{grant: g.Name, namespace: pod.Namespace})
		return !p.Stands(context.Background(), g, pod.Namespace)
	})
}

// OnUpdate brings namespaces for which a Pod's new labels and annotations make
// a difference.
func (p podEvents) OnUpdate(before, after any) {
	oldPod, ok := before.(*metav1.PartialObjectMetadata)
	newPod, ok2 := after.(*metav1.PartialObjectMetadata)
	if !ok || !ok2 {
		return
	}
	p.tell(newPod.Namespace, func(g *grant.Grant) bool { return matches(g, oldPod) != matches(g, newPod) })
}

// OnDelete brings namespaces whose last matching Pod this may have been.
func (p podEvents) OnDelete(object any) {
	if tombstone, ok := object.(deletedUnseen); ok {
		object = tombstone.Obj
	}
	pod, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return
	}
	p.tell(pod.Namespace, func(g *grant.Grant) bool { return matches(g, pod) })
}

// tell tells of a namespace for each grant that is concerned.
func (p podEvents) tell(namespace string, concerned func(*grant.Grant) bool) {
	for _, g := range p.Book.Reaching(namespace) {
		if concerned(g) {
			p.Changed(Change{Namespace: namespace, Grant: g})
		}
	}
}

func matches(g *grant.Grant, pod *metav1.PartialObjectMetadata) bool {
	return g.Selection.Pod(pod.Labels, pod.Annotations)
}
