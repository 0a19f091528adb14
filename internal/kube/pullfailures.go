package kube

import (
	"context"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
)

// pullFailures select the Events by which a kubelet tells that a container
// can't be started, for which an image that can't be pulled is one cause. The
// kubelet writes, in pkg/kubelet/images/image_manager.go and
// pkg/kubelet/kuberuntime/kuberuntime_container.go,
//
//	Warning Failed   Failed to pull image "<image>": <what the runtime says>
//	Warning Failed   Error: ErrImagePull
//	Normal  BackOff  Back-off pulling image "<image>"
//	Warning Failed   Error: ImagePullBackOff
//
// and Warning Failed with other texts for other causes. The last two come for
// as long as the Pod stands: client-go's filter lets 25 Events about one object
// through at once and then one in five minutes.
const pullFailures = "involvedObject.kind=Pod,type=" + corev1.EventTypeWarning + ",reason=Failed"

// PullFailures watches what kubelets tell about images that can't be pulled. It
// costs nothing while nothing fails. It is safe for concurrent use.
type PullFailures struct {
	client     corev1client.EventsGetter
	namespaces []string
	failed     func(pod types.NamespacedName)
	refused    func(ctx context.Context, namespace string, err error)

	mu   sync.Mutex
	stop context.CancelFunc // nil while nothing is watched
}

// NewPullFailures returns PullFailures that watch nothing yet, and then each of
// the namespaces; "" stands for all. failed is called with each Pod whose image
// can't be pulled, again and again; refused with the API server's error while
// Events may not be watched in one of the namespaces. Both are called from any
// goroutine.
func NewPullFailures(client corev1client.EventsGetter, namespaces []string, failed func(pod types.NamespacedName), refused func(ctx context.Context, namespace string, err error)) *PullFailures {
	return &PullFailures{client: client, namespaces: namespaces, failed: failed, refused: refused}
}

// Watch begins to watch, or ends it.
func (p *PullFailures) Watch(wanted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !wanted:
		p.end()
	case p.stop == nil:
		var ctx context.Context
		ctx, p.stop = context.WithCancel(context.Background())
		for _, namespace := range p.namespaces {
			go p.newInformer(namespace).RunWithContext(ctx)
		}
	}
}

// end ends the watch, if there is one; p.mu must be held.
func (p *PullFailures) end() {
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
}

// Start waits for the end of ctx and then ends the watch.
func (p *PullFailures) Start(ctx context.Context) error {
	<-ctx.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
	return nil
}

func (p *PullFailures) newInformer(namespace string) cache.SharedIndexInformer {
	events := p.client.Events(namespace)
	informer := cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = pullFailures
			return events.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (apiwatch.Interface, error) {
			options.FieldSelector = pullFailures
			return events.Watch(ctx, options)
		},
	}, &corev1.Event{}, 0, cache.Indexers{})
	// None of these can fail on an informer that has not been started.
	_ = informer.SetTransform(onlyPullFailure)
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) { p.tell(object) },
		UpdateFunc: func(before, after any) {
			if versionOf(before) != versionOf(after) { // the same Event once more
				p.tell(after)
			}
		},
	})
	_ = informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, r *cache.Reflector, err error) {
		if !apierrors.IsForbidden(err) {
			cache.DefaultWatchErrorHandler(ctx, r, err)
			return
		}
		p.refused(ctx, namespace, err)
	})
	return informer
}

func (p *PullFailures) tell(object any) {
	if event, ok := object.(*corev1.Event); ok && event.Message != "" && ofItsNamespace(event) {
		p.failed(types.NamespacedName{Namespace: event.InvolvedObject.Namespace, Name: event.InvolvedObject.Name})
	}
}

// ofItsNamespace tells whether an Event is about a Pod of the namespace that it
// lies in, as a kubelet's are. The API server lets whoever may write Events in
// one namespace put any namespace and any text for a name into one.
func ofItsNamespace(event *corev1.Event) bool {
	pod := event.InvolvedObject
	return pod.Namespace == event.Namespace && len(validation.IsDNS1123Subdomain(pod.Name)) == 0
}

func versionOf(object any) string {
	if event, ok := object.(*corev1.Event); ok {
		return event.ResourceVersion
	}
	return ""
}

// pullTexts are parts of what a kubelet writes if an image can't be pulled; it
// may put something before it when it gathers Events that are alike.
var pullTexts = []string{"Failed to pull image ", "Error: ErrImagePull", "Error: ImagePullBackOff"}

// onlyPullFailure drops what is not needed of an Event: of its message all but
// which of pullTexts it holds. It may see its own result again.
func onlyPullFailure(object any) (any, error) {
	event, ok := object.(*corev1.Event)
	if !ok {
		return object, nil
	}
	short := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: event.Namespace, Name: event.Name, ResourceVersion: event.ResourceVersion},
		InvolvedObject: corev1.ObjectReference{Namespace: event.InvolvedObject.Namespace, Name: event.InvolvedObject.Name},
	}
	for _, text := range pullTexts {
		if strings.Contains(event.Message, text) {
			short.Message = text
		}
	}
	return short, nil
}
