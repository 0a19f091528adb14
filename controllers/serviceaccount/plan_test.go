package serviceaccount

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/grant"
)

// refs makes imagePullSecrets of names.
func refs(names ...string) []corev1.LocalObjectReference {
	var made []corev1.LocalObjectReference
	for _, name := range names {
		made = append(made, corev1.LocalObjectReference{Name: name})
	}
	return made
}

func namesOf(secrets []corev1.LocalObjectReference) string {
	var names []string
	for _, s := range secrets {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

// wants is a claim of a grant that selects the ServiceAccount.
func wants(secret string, changes ...func(*claim)) claim {
	c := claim{Grant: &grant.Grant{Name: "of-" + secret, SecretName: secret}, Namespace: true, Account: true}
	for _, change := range changes {
		change(&c)
	}
	return c
}

func TestDecide(t *testing.T) {
	elsewhere := func(c *claim) { c.Namespace, c.Account = false, false }
	notThisOne := func(c *claim) { c.Account = false }
	suspended := func(c *claim) { c.Grant.Suspended = true }
	unsure := func(c *claim) { c.Unsure = true }
	inherits := func(c *claim) { c.Grant.InheritsEntries, c.Ours = true, true }
	notYet := func(c *claim) { c.Ours = false }
	retained := map[string]bool{"pull": true}
	held := map[string]time.Time{"pull": time.Unix(1, 0)}

	cases := map[string]struct {
		observation
		secrets, recorded string // as wanted
		change            bool
	}{
		"a wanted name is added at the end and recorded":              {observation{Secrets: refs("a", "z"), Claims: []claim{wants("pull")}}, "a z pull", "pull", true},
		"several are added in order of their names":                   {observation{Claims: []claim{wants("p2"), wants("p1")}}, "p1 p2", "p1,p2", true},
		"two grants of one name add it once":                          {observation{Claims: []claim{wants("pull"), wants("pull")}}, "pull", "pull", true},
		"a wanted name that stands and is recorded is left":           {observation{Secrets: refs("pull", "a"), Recorded: []string{"pull"}, Claims: []claim{wants("pull")}}, "pull a", "pull", false},
		"a wanted name that someone else added is not recorded":       {observation{Secrets: refs("pull", "a"), Claims: []claim{wants("pull")}}, "pull a", "", false},
		"a recorded name that is gone is put back":                    {observation{Secrets: refs("a"), Recorded: []string{"pull"}, Claims: []claim{wants("pull")}}, "a pull", "pull", true},
		"one that is held is not, and keeps its record":               {observation{Secrets: refs("a"), Recorded: []string{"pull"}, Claims: []claim{wants("pull")}, Held: held}, "a", "pull", false},
		"beside one that is held others are added":                    {observation{Claims: []claim{wants("pull"), wants("b")}, Held: held}, "b", "b", true},
		"a recorded name that nobody wants goes":                      {observation{Secrets: refs("a", "pull", "z"), Recorded: []string{"pull"}}, "a z", "", true},
		"so does its record where the name is gone already":           {observation{Secrets: refs("a"), Recorded: []string{"pull"}}, "a", "", true},
		"an entry that is not recorded stays":                         {observation{Secrets: refs("pull"), Claims: []claim{wants("pull", notThisOne)}}, "pull", "", false},
		"someone else's entry of the same name stays":                 {observation{Secrets: refs("pull", "a", "pull"), Recorded: []string{"pull"}}, "pull a", "", true},
		"entries without a name stay":                                 {observation{Secrets: refs("", "pull"), Recorded: []string{"pull"}}, "", "", true},
		"a name changes":                                              {observation{Secrets: refs("old", "a"), Recorded: []string{"old"}, Claims: []claim{wants("new")}}, "a new", "new", true},
		"a ServiceAccount that is not selected any more loses it":     {observation{Secrets: refs("pull"), Recorded: []string{"pull"}, Claims: []claim{wants("pull", notThisOne)}}, "", "", true},
		"so does one whose namespace is not":                          {observation{Secrets: refs("pull"), Recorded: []string{"pull"}, Claims: []claim{wants("pull", elsewhere)}}, "", "", true},
		"another grant of that name keeps it":                         {observation{Secrets: refs("pull"), Recorded: []string{"pull"}, Claims: []claim{wants("pull", elsewhere), wants("pull")}}, "pull", "pull", false},
		"a suspended grant adds nothing":                              {observation{Claims: []claim{wants("pull", suspended)}}, "", "", false},
		"a suspended grant takes nothing away":                        {observation{Secrets: refs("pull"), Recorded: []string{"pull"}, Claims: []claim{wants("pull", elsewhere, suspended)}}, "pull", "pull", false},
		"another grant adds a suspended grant's name":                 {observation{Claims: []claim{wants("pull", suspended), wants("pull")}}, "pull", "pull", true},
		"an unsure grant takes nothing away":                          {observation{Secrets: refs("pull"), Recorded: []string{"pull"}, Claims: []claim{wants("pull", elsewhere, unsure)}}, "pull", "pull", false},
		"an unsure grant adds":                                        {observation{Claims: []claim{wants("pull", unsure)}}, "pull", "pull", true},
		"an unsure grant keeps only its own name":                     {observation{Secrets: refs("old", "pull"), Recorded: []string{"old", "pull"}, Claims: []claim{wants("pull", unsure)}}, "pull", "pull", true},
		"the name of a retained Secret stays after its object":        {observation{Secrets: refs("pull"), Recorded: []string{"pull"}, Retained: retained}, "pull", "pull", false},
		"and where its object does not select the namespace any more": {observation{Secrets: refs("pull"), Recorded: []string{"pull"}, Retained: retained, Claims: []claim{wants("pull", elsewhere)}}, "pull", "pull", false},
		"but not where it does and leaves the ServiceAccount out":     {observation{Secrets: refs("pull"), Recorded: []string{"pull"}, Retained: retained, Claims: []claim{wants("pull", notThisOne)}}, "", "", true},
		"an inherited entry is recorded where it stands":              {observation{Secrets: refs("pull", "a"), Claims: []claim{wants("pull", inherits)}}, "pull a", "pull", true},
		"but not before the Secret is taken over":                     {observation{Secrets: refs("pull", "a"), Claims: []claim{wants("pull", inherits, notYet)}}, "pull a", "", false},
		"nor where it is not wanted":                                  {observation{Secrets: refs("pull"), Claims: []claim{wants("pull", inherits, notThisOne)}}, "pull", "", false},
		"nor while its grant is suspended":                            {observation{Secrets: refs("pull"), Claims: []claim{wants("pull", inherits, suspended)}}, "pull", "", false},
		"it is recorded once":                                         {observation{Secrets: refs("pull"), Recorded: []string{"pull"}, Claims: []claim{wants("pull", inherits)}}, "pull", "pull", false},
		"nothing to do":                                               {observation{Secrets: refs("a")}, "a", "", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			before := slices.Clone(c.Secrets)
			p := decide(c.observation)
			if got := namesOf(p.Secrets); got != c.secrets {
				t.Errorf("imagePullSecrets are %q, want %q", got, c.secrets)
			}
			if got := record(p.Recorded); got != c.recorded {
				t.Errorf("recorded is %q, want %q", got, c.recorded)
			}
			if p.Change != c.change {
				t.Errorf("change is %t", p.Change)
			}
			if diff := cmp.Diff(before, c.Secrets); diff != "" {
				t.Errorf("what was observed has changed:\n%s", diff)
			}
		})
	}
}

// Whatever stands in a ServiceAccount and its annotation: other people's entries
// stay in their order, and carrying a plan out leaves nothing to do.
func FuzzDecide(f *testing.F) {
	f.Add("a,pull,z", "pull", "pull,other", "")
	f.Add("pull,,pull", " pull , ,x", "", "x")
	f.Add("", ",,", "a,a", "a")
	f.Add("b", "b,a,b", "c", "b,c")
	f.Fuzz(func(t *testing.T, secrets, annotation, wanted, elsewhere string) {
		o := observation{
			Secrets:  refs(strings.Split(secrets, ",")...),
			Recorded: Recorded(map[string]string{v1alpha1.AnnotationAttached: annotation}),
		}
		for name := range strings.SplitSeq(wanted, ",") {
			if name == strings.TrimSpace(name) && name != "" { // as Secrets are called
				o.Claims = append(o.Claims, wants(name))
			}
		}
		for name := range strings.SplitSeq(elsewhere, ",") {
			o.Claims = append(o.Claims, wants(name, func(c *claim) { c.Namespace, c.Account = false, false }))
		}
		p := decide(o)
		foreign := func(s corev1.LocalObjectReference) bool {
			return !slices.Contains(o.Recorded, s.Name) && !slices.Contains(p.Added, s.Name)
		}
		if diff := cmp.Diff(filter(o.Secrets, foreign), filter(p.Secrets, foreign)); diff != "" {
			t.Fatalf("entries of others (-before +after):\n%s", diff)
		}
		for _, name := range o.wanted() {
			if !stands(p.Secrets, name) {
				t.Fatalf("%q is wanted and missing in %q", name, namesOf(p.Secrets))
			}
		}
		if !p.Change && (!slices.Equal(p.Secrets, o.Secrets) || !slices.Equal(p.Recorded, o.Recorded)) {
			t.Fatalf("a plan without a change changes %+v to %+v", o, p)
		}
		o.Secrets, o.Recorded = p.Secrets, Recorded(map[string]string{v1alpha1.AnnotationAttached: record(p.Recorded)})
		if again := decide(o); again.Change {
			t.Fatalf("there is more to do after %+v: %+v", p, again)
		}
	})
}

func filter(secrets []corev1.LocalObjectReference, is func(corev1.LocalObjectReference) bool) []string {
	var names []string
	for _, s := range secrets {
		if is(s) {
			names = append(names, s.Name)
		}
	}
	return names
}
