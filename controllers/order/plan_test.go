package order

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/rights"
)

func TestTranslate(t *testing.T) {
	object := &v1alpha1.ImagePullSecret{ObjectMeta: metav1.ObjectMeta{Name: "corp", UID: "u"}}
	object.Spec.Suspend = true
	object.Spec.Target.Secret = v1alpha1.TargetSecretConfig{Name: "pull", Labels: map[string]v1alpha1.LabelValue{"a": "b"}}
	object.Spec.Target.Namespaces.Labels = []metav1.LabelSelector{{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "k", Operator: "Inn"}}}}
	object.Spec.Target.NamespacesWithPods.Labels = []metav1.LabelSelector{{}}
	g, problems := translate(&Order{Object: object}, true)
	if g.Name != "corp" || g.UID != "u" || !g.Suspended || g.SecretName != "pull" || g.Labels["a"] != "b" || !g.Selection.HasPodRules() {
		t.Errorf("grant is %+v", g)
	}
	if len(problems) != 1 || !strings.Contains(problems[0], "spec.target.namespaces.labels[0]") {
		t.Errorf("problems are %q", problems)
	}
	if g, _ := translate(&Order{Object: object}, false); g.Selection.HasPodRules() {
		t.Error("rules for Pods were not left out")
	}
}

// Objects that were stored before a policy came to be have none.
func TestPoliciesForPodsHaveDefaults(t *testing.T) {
	object := &v1alpha1.ImagePullSecret{}
	if g, _ := translate(&Order{Object: object}, true); g.Pods != v1alpha1.PodsInject || g.Recovery != v1alpha1.RecoveryEvict || g.Accounts.HasRules() {
		t.Errorf("grant is %+v", g)
	}
	object.Spec.Target.Pods, object.Spec.Target.PodRecovery = v1alpha1.PodsNone, v1alpha1.RecoveryNone
	object.Spec.Target.ServiceAccounts.Names = []string{"*"}
	if g, _ := translate(&Order{Object: object}, true); g.Pods != v1alpha1.PodsNone || g.Recovery != v1alpha1.RecoveryNone || !g.Accounts.HasRules() {
		t.Errorf("grant is %+v", g)
	}
}

// Equal hashes mean equal Secrets, and only with the same key.
func TestContentHashCoversEverythingThatIsWritten(t *testing.T) {
	base := func() *grant.Grant {
		return &grant.Grant{Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"}}
	}
	hashes := map[string]string{}
	add := func(what, hash string) {
		for other, known := range hashes {
			if known == hash {
				t.Errorf("%s and %s have the same hash", what, other)
			}
		}
		hashes[what] = hash
	}
	add("base", content(base(), []byte("x"), []byte("k"), nil).Hash)
	add("another document", content(base(), []byte("y"), []byte("k"), nil).Hash)
	add("another key", content(base(), []byte("x"), []byte("l"), nil).Hash)
	relabelled := base()
	relabelled.Labels["e"] = "f"
	add("another label", content(relabelled, []byte("x"), []byte("k"), nil).Hash)
	swapped := base()
	swapped.Labels, swapped.Annotations = swapped.Annotations, swapped.Labels
	add("labels and annotations swapped", content(swapped, []byte("x"), []byte("k"), nil).Hash)
	if again := content(base(), []byte("x"), []byte("k"), nil).Hash; again != hashes["base"] {
		t.Error("the same content has another hash")
	}
}

func TestOnlyWhatWasWrittenForAnOrderIsGenuine(t *testing.T) {
	key, document := []byte("k"), []byte("x")
	order := &Order{Object: &v1alpha1.ImagePullSecret{}, ExpiryAnnotation: "expires"}
	order.Object.Spec.Target.Secret.Labels = map[string]v1alpha1.LabelValue{"a": "b"}
	g, _ := translate(order, true)
	annotateExpiry(g, order, "soon")
	written := map[string]string{"expires": "soon", "foreign": "yes", v1alpha1.AnnotationContentHash: content(g, document, key, nil).Hash}
	if !genuine(order, document, written, key) {
		t.Error("what was written is not taken for it")
	}
	if genuine(order, []byte("y"), written, key) {
		t.Error("another document is")
	}
	if genuine(order, document, map[string]string{"expires": "soon"}, key) {
		t.Error("one without a hash is")
	}
	if genuine(order, document, written, []byte("another")) {
		t.Error("the hash of another installation is taken")
	}
}

func TestRefusedName(t *testing.T) {
	config := func(names ...string) Config { return Config{TargetNames: names} }
	if config().refusedName("a") != "" || config("b", "a").refusedName("a") != "" {
		t.Error("an allowed name is refused")
	}
	bound := config("a", "b")
	bound.Rights = rights.Mode{Namespaces: true, Names: true}
	for role, c := range map[string]Config{"its ClusterRole": config("a", "b"), "its Roles": bound} {
		message := c.refusedName("c")
		for _, want := range []string{"named a, b", "resourceNames: [c]", role} {
			if !strings.Contains(message, want) {
				t.Errorf("message lacks %q: %q", want, message)
			}
		}
	}
}
