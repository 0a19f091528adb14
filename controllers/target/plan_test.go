package target

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/grant"
)

var key = types.NamespacedName{Namespace: "team-a", Name: "pull"}

// newGrant makes a grant that is complete.
func newGrant(changes ...func(*grant.Grant)) *grant.Grant {
	g := &grant.Grant{
		Name: "corp", UID: "uid-1", CreatedAt: metav1.NewTime(time.Unix(1, 0)), SecretName: "pull",
		Owner:          &metav1.OwnerReference{APIVersion: "images.banzaicloud.io/v1alpha1", Kind: "ImagePullSecret", Name: "corp", UID: "uid-1"},
		Labels:         map[string]string{"team": "a"},
		Annotations:    map[string]string{"note": "n"},
		ConflictPolicy: v1alpha1.ConflictFail,
		DeletionPolicy: v1alpha1.DeletionDelete,
		Content:        &grant.Content{DockerConfigJSON: []byte(`{"auths":{}}`), Hash: "hash-1"},
	}
	for _, change := range changes {
		change(g)
	}
	return g
}

// written is the Secret that was written for a grant, as the cache shows it.
func written(g *grant.Grant, changes ...func(*existing)) existing {
	wanted := desired(key, g)
	secret := existing{Found: true, Intact: true, UID: "secret-uid", Labels: wanted.Labels, Annotations: wanted.Annotations}
	for _, owner := range wanted.OwnerReferences {
		secret.Owners = append(secret.Owners, metav1.OwnerReference{UID: *owner.UID, Kind: *owner.Kind, Name: *owner.Name})
	}
	for _, change := range changes {
		change(&secret)
	}
	return secret
}

func TestDecide(t *testing.T) {
	suspended := func(g *grant.Grant) { g.Suspended = true }
	retained := func(g *grant.Grant) { g.DeletionPolicy = v1alpha1.DeletionRetain }
	unsure := func(g *grant.Grant) { g.Unsure = true }
	unknown := func(g *grant.Grant) { g.Content = nil }
	rotated := func(g *grant.Grant) { g.Content = &grant.Content{Hash: "hash-2"} }
	tampered := func(e *existing) { e.Intact = false }
	relabelled := func(e *existing) { e.Labels["team"] = "b" }
	disowned := func(e *existing) { e.Owners = nil }
	terminating := func(e *existing) { e.Terminating = true }
	fromIMPS := func(e *existing) {
		e.Intact = false
		e.Annotations = map[string]string{v1alpha1.AnnotationIMPSLastApplied: "x"}
	}
	inPlace := func(g *grant.Grant) { g.InPlace, g.Owner, g.Labels, g.Annotations = true, nil, nil, nil }
	asking := existing{ // a Secret of somebody else's, with our login in it and more of his own
		Found: true, Intact: true, Labels: map[string]string{"his": "own"}, Owners: []metav1.OwnerReference{{UID: "his"}},
		Annotations: map[string]string{v1alpha1.AnnotationChainguardUpdater: "id", v1alpha1.AnnotationContentHash: "hash-1", "his": "own"},
	}
	emptied, silent := asking, asking
	emptied.Intact = false
	silent.Annotations = map[string]string{v1alpha1.AnnotationContentHash: "hash-1"}

	cases := map[string]struct {
		observation
		want plan
	}{
		"a missing Secret is written without taking anything over": {
			observation{NamespaceActive: true, Claims: []*grant.Grant{newGrant()}}, plan{Action: apply}},
		"a current Secret is left": {
			observation{NamespaceActive: true, Claims: []*grant.Grant{newGrant()}, Secret: written(newGrant())}, plan{Action: leave}},
		"new content is written over our own": {
			observation{NamespaceActive: true, Claims: []*grant.Grant{newGrant(rotated)}, Secret: written(newGrant())}, plan{Action: apply, TakeOver: true}},
		"tampered credentials are written again": {
			observation{NamespaceActive: true, Claims: []*grant.Grant{newGrant()}, Secret: written(newGrant(), tampered)}, plan{Action: apply, TakeOver: true}},
		"a changed label is written again": {
			observation{NamespaceActive: true, Claims: []*grant.Grant{newGrant()}, Secret: written(newGrant(), relabelled)}, plan{Action: apply, TakeOver: true}},
		"a lost owner reference is written again": {
			observation{NamespaceActive: true, Claims: []*grant.Grant{newGrant()}, Secret: written(newGrant(), disowned)}, plan{Action: apply, TakeOver: true}},
		"an owner reference goes when Secrets are to be retained": {
			observation{NamespaceActive: true, Claims: []*grant.Grant{newGrant(retained)}, Secret: written(newGrant())}, plan{Action: apply, TakeOver: true}},
		"a Secret of IMPS is inherited": {
			observation{NamespaceActive: true, Claims: []*grant.Grant{newGrant()}, Secret: written(newGrant(), fromIMPS)}, plan{Action: apply, TakeOver: true, InheritFromIMPS: true}},
		"a foreign Secret in the cache is not taken over": {
			observation{NamespaceActive: true, Claims: []*grant.Grant{newGrant()}, Secret: existing{Found: true}}, plan{Action: apply}},
		"a Secret that is being deleted is waited for": {
			observation{NamespaceActive: true, Claims: []*grant.Grant{newGrant()}, Secret: written(newGrant(), terminating)}, plan{Action: wait}},
		"nothing is written before the credentials are known": {
			observation{NamespaceActive: true, Claims: []*grant.Grant{newGrant(unknown)}}, plan{Action: wait}},
		"a suspended grant's tampered Secret is left": {
			observation{NamespaceActive: true, Claims: []*grant.Grant{newGrant(suspended)}, Secret: written(newGrant(), tampered)}, plan{Action: leave}},
		"in a namespace that is going nothing is written": {
			observation{Claims: []*grant.Grant{newGrant()}}, plan{Action: leave}},
		"a Secret of ours that nobody claims is removed": {
			observation{NamespaceActive: true, Keeper: newGrant(), Secret: written(newGrant())}, plan{Action: remove}},
		"a foreign Secret that nobody claims is left": {
			observation{NamespaceActive: true, Secret: existing{Found: true}}, plan{Action: leave}},
		"a Secret whose object is gone is left to the garbage collector": {
			observation{NamespaceActive: true, Secret: written(newGrant())}, plan{Action: leave}},
		"a suspended grant's deselected Secret is left": {
			observation{NamespaceActive: true, Keeper: newGrant(suspended), Secret: written(newGrant())}, plan{Action: leave}},
		"a retained Secret is left": {
			observation{NamespaceActive: true, Keeper: newGrant(retained), Secret: written(newGrant(retained))}, plan{Action: leave}},
		"a Secret that asks and holds the login is left, whatever else is in it": {
			observation{NamespaceActive: true, Claims: []*grant.Grant{newGrant(inPlace)}, Secret: asking}, plan{Action: leave}},
		"one that asks and whose owner took the login out gets it again, and stays his": {
			observation{NamespaceActive: true, Claims: []*grant.Grant{newGrant(inPlace)}, Secret: emptied}, plan{Action: apply}},
		"one that asks gets a new login, and stays its owner's": {
			observation{NamespaceActive: true, Claims: []*grant.Grant{newGrant(inPlace, rotated)}, Secret: asking}, plan{Action: apply}},
		"one that asked and is gone is not made": {
			observation{NamespaceActive: true, Claims: []*grant.Grant{newGrant(inPlace)}}, plan{Action: leave}},
		"one that asks and that nobody serves is left": {
			observation{NamespaceActive: true, Secret: asking}, plan{Action: leave}},
		"one that does not ask any more is left": {
			observation{NamespaceActive: true, Secret: silent}, plan{Action: leave}},
		"while a selector is broken nothing is removed": {
			observation{NamespaceActive: true, Keeper: newGrant(unsure), Secret: written(newGrant())}, plan{Action: leave}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := decide(c.observation)
			if got.Action != c.want.Action || got.TakeOver != c.want.TakeOver || got.InheritFromIMPS != c.want.InheritFromIMPS {
				t.Errorf("got %s (take over %t, inherit %t), because %s; want %s (%t, %t)", got.Action, got.TakeOver,
					got.InheritFromIMPS, got.Why, c.want.Action, c.want.TakeOver, c.want.InheritFromIMPS)
			}
			if got.Why == "" {
				t.Error("the plan does not say why")
			}
		})
	}
}

// A plan that was carried out leaves nothing to do.
func TestDecideIsIdempotent(t *testing.T) {
	for _, policy := range []v1alpha1.DeletionPolicy{v1alpha1.DeletionDelete, v1alpha1.DeletionRetain} {
		g := newGrant(func(g *grant.Grant) { g.DeletionPolicy = policy })
		o := observation{NamespaceActive: true, Claims: []*grant.Grant{g}}
		if first := decide(o); first.Action != apply {
			t.Fatalf("the first plan is %s", first.Action)
		}
		o.Secret, o.Keeper = written(g), g
		if second := decide(o); second.Action != leave {
			t.Errorf("%s: the second plan is %s, because %s", policy, second.Action, second.Why)
		}
	}
}

func TestResolve(t *testing.T) {
	foreign := existing{Found: true}
	owned := existing{Found: true, Owners: []metav1.OwnerReference{{Kind: "ExternalSecret", Name: "es", UID: "x"}}}
	ours := existing{Found: true, Labels: map[string]string{v1alpha1.LabelOwnerUID: "uid-0"}}
	cases := map[string]struct {
		policy    v1alpha1.ConflictPolicy
		secret    existing
		otherType bool
		want      resolution // Message: a part of it
	}{
		"Fail leaves a foreign Secret alone":            {v1alpha1.ConflictFail, foreign, false, resolution{Message: "Adopt or Overwrite"}},
		"Fail leaves one of another type alone":         {v1alpha1.ConflictFail, foreign, true, resolution{Message: "Adopt or Overwrite"}},
		"Fail takes over our own, seen late":            {v1alpha1.ConflictFail, ours, false, resolution{TakeOver: true}},
		"Fail takes over our own that lost its label":   {v1alpha1.ConflictFail, existing{Found: true, Intact: true}, false, resolution{TakeOver: true}},
		"our own of another type is replaced":           {v1alpha1.ConflictFail, ours, true, resolution{Replace: true}},
		"Adopt takes over a foreign Secret":             {v1alpha1.ConflictAdopt, foreign, false, resolution{TakeOver: true}},
		"Adopt leaves one of another type alone":        {v1alpha1.ConflictAdopt, foreign, true, resolution{Message: "is not kubernetes.io/dockerconfigjson"}},
		"Adopt leaves what another object owns":         {v1alpha1.ConflictAdopt, owned, false, resolution{Message: `ExternalSecret "es"`}},
		"Overwrite takes over what another object owns": {v1alpha1.ConflictOverwrite, owned, false, resolution{TakeOver: true}},
		"Overwrite replaces one of another type":        {v1alpha1.ConflictOverwrite, foreign, true, resolution{Replace: true}},
		"no policy at all is Fail":                      {"", foreign, false, resolution{Message: "conflictPolicy"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			g := newGrant()
			g.ConflictPolicy = c.policy
			got := resolve(key, g, c.secret, c.otherType)
			if got.TakeOver != c.want.TakeOver || got.Replace != c.want.Replace || !strings.Contains(got.Message, c.want.Message) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if refused := !got.TakeOver && !got.Replace; refused != (got.Message != "") {
				t.Errorf("a refusal says why and nothing else does: %+v", got)
			}
		})
	}
}

// What a namespace's own grant finds there is taken over if the same object owns
// it, as that of the system before, and left alone otherwise.
func TestResolveForAGrantOfOneNamespace(t *testing.T) {
	g := newGrant()
	g.Namespace, g.NameField, g.ConflictPolicy = key.Namespace, "the annotation x", v1alpha1.ConflictFail
	inherited := existing{Found: true, Owners: []metav1.OwnerReference{{Kind: "ServiceAccount", Name: "app", UID: g.UID}}}
	if got := resolve(key, g, inherited, false); !got.TakeOver {
		t.Errorf("what the same object owns: %+v", got)
	}
	foreign := resolve(key, g, existing{Found: true}, false)
	if foreign.TakeOver || foreign.Replace || !strings.Contains(foreign.Message, "choose another name in the annotation x") {
		t.Errorf("a foreign one: %+v", foreign)
	}
}

func TestDesired(t *testing.T) {
	secret := desired(key, newGrant())
	if *secret.Type != corev1.SecretTypeDockerConfigJson || secret.Labels[v1alpha1.LabelOwnerUID] != "uid-1" ||
		secret.Labels["team"] != "a" || secret.Annotations["note"] != "n" || len(secret.OwnerReferences) != 1 {
		t.Errorf("desired is %+v", secret)
	}
	for text := range secret.Annotations {
		if text != "note" && text != v1alpha1.AnnotationContentHash {
			t.Errorf("annotation %s is nobody's business", text)
		}
	}
}

func TestOurOwnWriteIsNoNews(t *testing.T) {
	var log writeLog
	log.wrote(key, "h", "10", time.Unix(100, 0))
	if log.saw(key, "9") || !log.saw(key, "10") || log.saw(key, "10") {
		t.Error("just the version that was written is ours, once")
	}
}

func TestWriteLog(t *testing.T) {
	now := time.Unix(100, 0)
	cases := map[string]struct {
		then func(*writeLog)
		hash string
		at   time.Time
		want bool
	}{
		"a write that the cache has not shown is ahead": {func(*writeLog) {}, "h", now, true},
		"one of other content is not":                   {func(*writeLog) {}, "other", now, false},
		"nor once the cache shows it":                   {func(l *writeLog) { l.saw(key, "10") }, "h", now, false},
		"nor once the cache shows a later one":          {func(l *writeLog) { l.saw(key, "11") }, "h", now, false},
		"an earlier one changes nothing":                {func(l *writeLog) { l.saw(key, "9") }, "h", now, true},
		"nor once the Secret was seen to be deleted":    {func(l *writeLog) { l.gone(key) }, "h", now, false},
		"nor after a time":                              {func(*writeLog) {}, "h", now.Add(trustWrites), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var log writeLog
			log.wrote(key, "h", "10", now)
			c.then(&log)
			if got := log.ahead(key, c.hash, c.at); got != c.want {
				t.Errorf("ahead is %t", got)
			}
		})
	}
}
