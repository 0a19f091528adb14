package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// secrets are those of the whole run.
var secrets = fakecloud.NewSecrets()

// leaked returns the parts of secrets that stand in a text: of passwords that
// tests made, of what the cloud issued, and of the ServiceAccounts' tokens.
func leaked(text string) []string {
	secrets.Add(shared.cloud.IssuedTokens()...)
	secrets.Add(shared.cloud.ShownTokens()...)
	return secrets.In(text)
}

// placesOf names where leaks stand in JSON documents, one to a line, without
// showing what stands there: the object's name and the nearest field.
func placesOf(text string, leaks []string) string {
	places := map[string]bool{}
	for line := range strings.Lines(text) {
		for _, leak := range leaks {
			before, _, found := strings.Cut(line, leak)
			if !found {
				continue
			}
			name, field := "", ""
			if names := regexp.MustCompile(`"name":"([^"]*)"`).FindStringSubmatch(line); names != nil {
				name = names[1]
			}
			if fields := regexp.MustCompile(`"([\w./:-]+)":`).FindAllStringSubmatch(before, -1); len(fields) > 0 {
				field = fields[len(fields)-1][1]
			}
			places[fmt.Sprintf("%q in field %q", name, field)] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(places)), ", ")
}

// output is what people and programs may read in clusters while the operator
// runs there, in all its versions.
type output struct {
	mu       sync.Mutex
	texts    []string
	problems []error
}

// outputs are those of the whole run.
var outputs = &output{}

// record keeps, until ctx or the cluster ends, every version of every object
// of a cluster that may be read by those who may not read its secrets.
func (o *output) record(ctx context.Context, c *cluster.Cluster) error {
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	api, err := client.NewWithWatch(c.Config(), client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	for _, list := range []client.ObjectList{&v1alpha1.ImagePullSecretList{}, &corev1.SecretList{}, &eventsv1.EventList{}} {
		following, err := begin(ctx, api, list)
		if err != nil {
			return err
		}
		go o.follow(ctx, api, list, following)
	}
	return nil
}

// begin watches as soon as the API server serves the kind, of which it may have
// been told just now.
func begin(ctx context.Context, api client.WithWatch, list client.ObjectList) (following watch.Interface, err error) {
	timeout := wait.PollUntilContextTimeout(ctx, pollTime, patience, true, func(context.Context) (bool, error) {
		following, err = api.Watch(ctx, list)
		return err == nil, nil
	})
	if timeout != nil {
		return nil, fmt.Errorf("watching %T: %w", list, errors.Join(timeout, err))
	}
	return following, nil
}

// follow keeps what a watch tells, and watches again when the API server ends
// it, which it does after half an hour, until it answers no more.
func (o *output) follow(ctx context.Context, api client.WithWatch, list client.ObjectList, following watch.Interface) {
	for {
		for event := range following.ResultChan() {
			o.keep(event.Object)
		}
		var err error
		if following, err = api.Watch(ctx, list); err != nil {
			return // the cluster has ended
		}
	}
}

func (o *output) keep(object runtime.Object) {
	if made, ok := object.(client.Object); ok {
		object = withoutSecrets(made)
	}
	text, err := json.Marshal(object)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.texts = append(o.texts, string(text))
	if err != nil {
		o.problems = append(o.problems, err)
	}
}

// withoutSecrets returns what of an object may be read by people who may not
// read its secrets: not a Secret's data, and not a spec, which people write
// themselves.
func withoutSecrets(object client.Object) client.Object {
	switch made := object.DeepCopyObject().(type) {
	case *corev1.Secret:
		made.Data, made.StringData = nil, nil
		if _, ours := made.Annotations[v1alpha1.AnnotationContentHash]; !ours {
			delete(made.Annotations, v1alpha1.AnnotationIMPSLastApplied) // IMPS's own leak, which ends when we adopt the Secret
		}
		return made
	case *v1alpha1.ImagePullSecret:
		made.Spec = v1alpha1.ImagePullSecretSpec{}
		return made
	default:
		return object
	}
}

// text returns everything that was kept.
func (o *output) text() (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.problems) > 0 {
		return "", o.problems[0]
	}
	return strings.Join(o.texts, "\n"), nil
}

func TestNoSecretHidesInTheCluster(t *testing.T) {
	const secret = "a secret that the test leaks by intention"
	labelled := strings.ReplaceAll(secret, " ", "_")
	search, recorded := fakecloud.NewSecrets(secret, labelled), &output{}
	if err := recorded.record(t.Context(), shared.cluster); err != nil {
		t.Fatal(err)
	}
	home := namespace(t)
	for sentence, leaking := range map[string]client.Object{
		"in a Secret's annotation": &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "annotated", Annotations: map[string]string{"leak": secret}}},
		"in a Secret's label":      &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "labelled", Labels: map[string]string{"leak": labelled}}},
		"in an event": &eventsv1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "event"}, EventTime: metav1.NewMicroTime(time.Now()),
			ReportingController: "test.example.com/test", ReportingInstance: "test", Action: "Leak", Reason: "Leak", Type: corev1.EventTypeNormal,
			Regarding: corev1.ObjectReference{Kind: "Namespace", Name: home, Namespace: home}, Note: encoded(secret),
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			create(t, leaking)
			eventually(t, "the leak to be found", func() error {
				text, err := recorded.text()
				if err != nil {
					return err
				}
				for line := range strings.Lines(text) {
					if strings.Contains(line, `"uid":"`+string(leaking.GetUID())) && len(search.In(line)) > 0 {
						return nil
					}
				}
				return fmt.Errorf("it is not found in %d bytes", len(text))
			})
		})
	}
}
