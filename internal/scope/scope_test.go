package scope

import (
	"context"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/internal/selector"
)

// namespaces is a cache of namespaces with these names, of which those that end
// with a hyphen are terminating.
type namespaces []string

func (n namespaces) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	object.SetName(key.Name)
	return nil
}

func (n namespaces) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	metadata, _ := list.(*metav1.PartialObjectMetadataList)
	for _, name := range n {
		namespace := kube.NamespaceMetadata()
		namespace.Name = name
		if name[len(name)-1] == '-' {
			now := metav1.Now()
			namespace.DeletionTimestamp = &now
		}
		metadata.Items = append(metadata.Items, *namespace)
	}
	return nil
}

// teams is a grant for namespaces by their names.
func teams(t *testing.T, patterns ...string) *grant.Grant {
	t.Helper()
	selection, errs := selector.Compile(v1alpha1.TargetConfig{
		Namespaces:         v1alpha1.NamespaceSelector{Names: patterns},
		NamespacesWithPods: v1alpha1.PodSelector{Labels: []metav1.LabelSelector{{MatchLabels: map[string]string{"a": "b"}}}},
	})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return &grant.Grant{Name: "corp", SecretName: "pull", Selection: selection}
}

func TestOnlyNamespacesWithinReachAreSelected(t *testing.T) {
	there := namespaces{"team-c", "team-a", "team-b", "team-gone-", "other"}
	all, own := teams(t, "team-*"), teams(t)
	own.Namespace = "team-a"
	foreign := teams(t)
	foreign.Namespace = "team-c"
	for sentence, c := range map[string]struct {
		within            []string
		g                 *grant.Grant
		selected, outside []string
	}{
		"of any namespace, with rights in all":  {nil, all, []string{"team-a", "team-b", "team-c"}, nil},
		"of any namespace, with rights in some": {[]string{"team-a", "other", "absent"}, all, []string{"team-a"}, []string{"team-b", "team-c"}},
		"of one namespace that is listed":       {[]string{"team-a"}, own, []string{"team-a"}, nil},
		"of one namespace that is not":          {[]string{"team-a"}, foreign, nil, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := New(Deps{Book: &grant.Book{}, Namespaces: there, Within: c.within, Stands: func(context.Context, *grant.Grant, string) bool { return false }})
			s.pods.want("corp", true)
			s.pods.started(kube.Informers{}, func() {})
			selected, err := s.Selected(t.Context(), c.g)
			if slices.Sort(selected); err != nil || !slices.Equal(selected, c.selected) {
				t.Errorf("selected %q, %v, want %q", selected, err, c.selected)
			}
			outside, err := s.OutOfReach(t.Context(), c.g)
			if err != nil || !slices.Equal(outside, c.outside) {
				t.Errorf("out of reach are %q, %v, want %q", outside, err, c.outside)
			}
			for _, name := range outside {
				if namespace, err := s.Namespace(t.Context(), name); namespace != nil || err != nil {
					t.Errorf("namespace %s is %v, %v", name, namespace, err)
				}
			}
		})
	}
}

// What happens out of reach is no work, and may change what people are told.
func TestNamespacesOutOfReachAreToldOf(t *testing.T) {
	var changes []Change
	var told []string
	book := &grant.Book{}
	book.Put(teams(t, "team-*"))
	s := New(Deps{
		Book: book, Within: []string{"team-a"}, Changed: func(c Change) { changes = append(changes, c) },
		OutOfReachChanged: func(grant string) { told = append(told, grant) },
	})
	events := s.NamespaceEvents()
	for _, name := range []string{"team-a", "team-b"} {
		events.Create(t.Context(), event.CreateEvent{Object: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}}, nil)
	}
	if len(changes) != 1 || changes[0].Namespace != "team-a" || !slices.Equal(told, []string{"corp"}) {
		t.Errorf("changes are %+v, told are %q", changes, told)
	}
}
