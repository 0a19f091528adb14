package kube

import (
	"context"
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// failure is an Event as a kubelet writes it.
func failure(version, message string) *corev1.Event {
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: "team-a", Name: "app-1.18a", ResourceVersion: version},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "team-a", Name: "app-1", UID: "u", FieldPath: "spec.containers{app}"},
		Type:           corev1.EventTypeWarning, Reason: "Failed", Message: message,
	}
}

func TestOnlyPullFailuresAreTold(t *testing.T) {
	cases := map[string]struct {
		message string
		want    bool
	}{
		"a pull that fails":           {`Failed to pull image "reg.io/app:v1": failed to authorize: 401 Unauthorized`, true},
		"the container's error":       {"Error: ErrImagePull", true},
		"a pull that is put off":      {"Error: ImagePullBackOff", true},
		"several that are alike":      {`(combined from similar events): Failed to pull image "reg.io/app:v1": 401`, true},
		"a container that can't run":  {"Error: failed to create containerd task: exec: not found", false},
		"one that lacks a ConfigMap":  {`Error: configmap "settings" not found`, false},
		"an image that is not looked": {`Error: ErrImageNeverPull`, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var told []types.NamespacedName
			p := NewPullFailures(nil, nil, func(pod types.NamespacedName) { told = append(told, pod) }, nil)
			var kept any = failure("1", c.message)
			for range 2 { // an informer may apply a transform to its own result
				var err error
				if kept, err = onlyPullFailure(kept); err != nil {
					t.Fatal(err)
				}
			}
			p.tell(kept)
			if (len(told) == 1) != c.want {
				t.Errorf("told of %v", told)
			}
			if c.want && told[0] != (types.NamespacedName{Namespace: "team-a", Name: "app-1"}) {
				t.Errorf("told of %s", told[0])
			}
			if event := kept.(*corev1.Event); event.ResourceVersion != "1" || len(event.Message) > 24 || event.Reason != "" {
				t.Errorf("kept %+v", event)
			}
		})
	}
}

// Whoever may write Events in one namespace writes into them what he likes.
func TestEventsAboutWhatNoKubeletTellsOfAreIgnored(t *testing.T) {
	for sentence, pod := range map[string]types.NamespacedName{
		"a Pod of another namespace":  {Namespace: "team-b", Name: "app-1"},
		"no namespace":                {Name: "app-1"},
		"a path to another namespace": {Namespace: "team-a", Name: "../../team-b/pods/app-1"},
		"a path upwards":              {Namespace: "team-a", Name: ".."},
		"a query":                     {Namespace: "team-a", Name: "app-1?dryRun=All"},
		"no name":                     {Namespace: "team-a"},
	} {
		t.Run(sentence, func(t *testing.T) {
			p := NewPullFailures(nil, nil, func(pod types.NamespacedName) { t.Errorf("told of %s", pod) }, nil)
			event := failure("1", "Error: ErrImagePull")
			event.InvolvedObject.Namespace, event.InvolvedObject.Name = pod.Namespace, pod.Name
			kept, err := onlyPullFailure(event)
			if err != nil {
				t.Fatal(err)
			}
			p.tell(kept)
		})
	}
}

func TestPullFailuresAreWatchedWhileWanted(t *testing.T) {
	client := fake.NewClientset()
	var selectors []string
	watches := make(chan *apiwatch.FakeWatcher, 10)
	client.PrependWatchReactor("events", func(action clienttesting.Action) (bool, apiwatch.Interface, error) {
		selectors = append(selectors, action.(clienttesting.WatchAction).GetWatchRestrictions().Fields.String())
		watcher := apiwatch.NewFake()
		watches <- watcher
		return true, watcher, nil
	})
	told := make(chan types.NamespacedName, 10)
	p := NewPullFailures(client.CoreV1(), everywhere, func(pod types.NamespacedName) { told <- pod }, func(_ context.Context, _ string, err error) { t.Error(err) })
	for range 2 {
		p.Watch(true)
		p.Watch(true) // changes nothing
		watcher := <-watches
		watcher.Action(apiwatch.Bookmark, &corev1.Event{ObjectMeta: metav1.ObjectMeta{
			ResourceVersion: "1", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"},
		}})
		watcher.Add(failure("1", "Error: ErrImagePull"))
		<-told
		watcher.Modify(failure("2", "Error: ErrImagePull")) // once more, as its count grows
		if pod := <-told; pod.Name != "app-1" {
			t.Errorf("told of %s", pod)
		}
		p.Watch(false)
		p.Watch(false)
		if _, open := <-watcher.ResultChan(); open {
			t.Error("the watch goes on")
		}
	}
	if len(selectors) != 2 || selectors[0] != "involvedObject.kind=Pod,reason=Failed,type=Warning" {
		t.Errorf("watched %q", selectors)
	}
}

// everywhere is all namespaces at once.
var everywhere = []string{metav1.NamespaceAll}

// Each of several namespaces is watched, and no other.
func TestPullFailuresAreWatchedWhereRightsAre(t *testing.T) {
	client := fake.NewClientset()
	watched := make(chan string, 10)
	client.PrependWatchReactor("events", func(action clienttesting.Action) (bool, apiwatch.Interface, error) {
		watched <- action.GetNamespace()
		return true, apiwatch.NewFake(), nil
	})
	p := NewPullFailures(client.CoreV1(), []string{"team-a", "team-b"}, func(types.NamespacedName) {}, func(_ context.Context, _ string, err error) { t.Error(err) })
	p.Watch(true)
	got := []string{<-watched, <-watched}
	p.Watch(false)
	if slices.Sort(got); !slices.Equal(got, []string{"team-a", "team-b"}) {
		t.Errorf("watched %q", got)
	}
}

func TestAWatchThatIsRefusedIsTold(t *testing.T) {
	client := fake.NewClientset()
	client.PrependWatchReactor("events", func(clienttesting.Action) (bool, apiwatch.Interface, error) {
		return true, nil, apierrors.NewForbidden(corev1.Resource("events"), "", errors.New("no"))
	})
	client.PrependReactor("list", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(corev1.Resource("events"), "", errors.New("no"))
	})
	refused := make(chan error, 10)
	p := NewPullFailures(client.CoreV1(), everywhere, func(types.NamespacedName) {}, func(_ context.Context, _ string, err error) { refused <- err })
	p.Watch(true)
	defer p.Watch(false)
	if err := <-refused; !apierrors.IsForbidden(err) {
		t.Errorf("told %v", err)
	}
}
