package integration

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
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
)

// fragment is how many bytes of a secret in a row are a leak for certain: a
// part may be cut off where a text is too long.
const fragment = 20

// planted are secrets in every form in which they might be seen, for a search
// that does not take longer with each of them.
type planted struct {
	mu        sync.Mutex
	known     map[string]bool
	fragments map[string]bool
}

func newPlanted() *planted { return &planted{known: map[string]bool{}, fragments: map[string]bool{}} }

// add plants secrets. It panics on one that is too short to be told from other
// texts.
func (p *planted) add(secrets ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, secret := range secrets {
		if p.known[secret] {
			continue
		}
		p.known[secret] = true
		if len(secret) < fragment {
			panic(fmt.Sprintf("a secret of %d characters can't be searched for", len(secret)))
		}
		for _, form := range forms(secret) {
			for i := 0; i+fragment <= len(form); i += fragment {
				p.fragments[form[i:i+fragment]] = true
			}
		}
	}
}

// forms are a secret as it is, as in an URL, and in base64 behind any other
// text: what is there of the text's last byte or the next one is left out.
func forms(secret string) []string {
	made := []string{secret, url.QueryEscape(secret)}
	for before := range 3 {
		whole := (before + len(secret)) / 3 * 3 // bytes that don't share a character with what follows
		text := []byte(strings.Repeat(" ", before) + secret)[:whole]
		from := []int{0, 4, 4}[before]
		made = append(made, base64.StdEncoding.EncodeToString(text)[from:], base64.URLEncoding.EncodeToString(text)[from:])
	}
	return made
}

// in returns the parts of secrets that stand in a text.
func (p *planted) in(text string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []string
	for i := 0; i+fragment <= len(text); i++ {
		if part := text[i : i+fragment]; p.fragments[part] && !slices.Contains(found, part) {
			found = append(found, part)
		}
	}
	return found
}

// secrets are those of the whole run.
var secrets = newPlanted()

// leaked returns the parts of secrets that stand in a text: of passwords that
// tests made, of what the cloud issued, and of the ServiceAccounts' tokens.
func leaked(text string) []string {
	secrets.add(shared.cloud.IssuedTokens()...)
	secrets.add(shared.cloud.ShownTokens()...)
	return secrets.in(text)
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

func TestNoSecretHidesFromTheSearch(t *testing.T) {
	const secret = "kubernetes>>secret??of~~forty+characters"
	search := newPlanted()
	search.add(secret)
	for sentence, text := range map[string]string{
		"as it is":                    "token: " + secret + ".",
		"cut off":                     "token: " + secret[:39] + "…",
		"without its beginning":       "…" + secret[1:],
		"in an URL":                   "?token=" + url.QueryEscape(secret) + "&x=y",
		"in base64":                   encoded(secret),
		"in base64 behind a user":     encoded("robot:" + secret),
		"in base64 behind a b":        encoded("b:" + secret + "\n"),
		"in base64 behind another bc": encoded("bc:" + secret + "\n\n"),
		"in base64 for URLs":          base64.RawURLEncoding.EncodeToString([]byte("x" + secret)),
	} {
		t.Run(sentence, func(t *testing.T) {
			if len(search.in(text)) == 0 {
				t.Errorf("it is not found in %q", text)
			}
		})
	}
	if found := search.in(strings.ToUpper(secret) + encoded(strings.ToUpper(secret))); len(found) > 0 {
		t.Errorf("%q is no secret", found)
	}
}

func TestNoSecretHidesInTheCluster(t *testing.T) {
	const secret = "a secret that the test leaks by intention"
	search, recorded := newPlanted(), &output{}
	labelled := strings.ReplaceAll(secret, " ", "_")
	search.add(secret, labelled)
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
					if strings.Contains(line, `"uid":"`+string(leaking.GetUID())) && len(search.in(line)) > 0 {
						return nil
					}
				}
				return fmt.Errorf("it is not found in %d bytes", len(text))
			})
		})
	}
}
