package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// account makes a ServiceAccount; labels are pairs of key and value.
func account(t *testing.T, namespace string, secrets []string, labels ...string) client.ObjectKey {
	t.Helper()
	made := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: unique("account"), Labels: pairs(labels)}}
	for _, secret := range secrets {
		made.ImagePullSecrets = append(made.ImagePullSecrets, corev1.LocalObjectReference{Name: secret})
	}
	return client.ObjectKeyFromObject(create(t, made))
}

func accountAt(ctx context.Context, key client.ObjectKey) (*corev1.ServiceAccount, error) {
	found := &corev1.ServiceAccount{}
	return found, shared.api.Get(ctx, key, found)
}

func attachedTo(account *corev1.ServiceAccount) []string {
	var names []string
	for _, secret := range account.ImagePullSecrets {
		names = append(names, secret.Name)
	}
	return names
}

// setListed makes names a ServiceAccount's imagePullSecrets, as a person does.
func setListed(t *testing.T, namespace, name string, names ...string) {
	t.Helper()
	account, err := accountAt(t.Context(), client.ObjectKey{Namespace: namespace, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	before := account.DeepCopy()
	account.ImagePullSecrets = nil
	for _, name := range names {
		account.ImagePullSecrets = append(account.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
	}
	if err := shared.api.Patch(t.Context(), account, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

// expectRecorded waits until names are the operator's in a ServiceAccount.
func expectRecorded(t *testing.T, namespace, name, names string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s/%s has %s on record", namespace, name, names), func() error {
		account, err := accountAt(t.Context(), client.ObjectKey{Namespace: namespace, Name: name})
		if err == nil && account.Annotations[v1alpha1.AnnotationAttached] != names {
			err = fmt.Errorf("it has %q", account.Annotations[v1alpha1.AnnotationAttached])
		}
		return err
	})
}

// expectAttached waits until a ServiceAccount has just these imagePullSecrets,
// and of them as many recorded as the operator's as recorded says.
func expectAttached(t *testing.T, key client.ObjectKey, recorded string, want ...string) *corev1.ServiceAccount {
	t.Helper()
	var found *corev1.ServiceAccount
	eventually(t, fmt.Sprintf("imagePullSecrets %v of ServiceAccount %s", want, key), func() (err error) {
		if found, err = accountAt(t.Context(), key); err != nil {
			return err
		}
		if got := attachedTo(found); !slices.Equal(got, want) {
			return fmt.Errorf("they are %v", got)
		}
		if got := found.Annotations[v1alpha1.AnnotationAttached]; got != recorded {
			return fmt.Errorf("recorded are %q", got)
		}
		return nil
	})
	return found
}

// changeAccount changes a ServiceAccount as a careful writer does: what it read
// must not have changed meanwhile.
func changeAccount(ctx context.Context, key client.ObjectKey, change func(*corev1.ServiceAccount)) error {
	always := retry.DefaultRetry
	always.Steps = 1000
	return retry.RetryOnConflict(always, func() error {
		found, err := accountAt(ctx, key)
		if err != nil {
			return err
		}
		change(found)
		return shared.api.Update(ctx, found)
	})
}

func mustChangeAccount(t *testing.T, key client.ObjectKey, change func(*corev1.ServiceAccount)) {
	t.Helper()
	if err := changeAccount(t.Context(), key, change); err != nil {
		t.Fatal(err)
	}
}

// attachment is an object that attaches a Secret of a unique name, by a label of
// the namespace and rules for ServiceAccounts.
func attachment(t *testing.T, label string, rules v1alpha1.ServiceAccountSelector, changes ...func(*v1alpha1.ImagePullSecret)) *v1alpha1.ImagePullSecret {
	t.Helper()
	made := newObject(unique("pull"), label, staticSource(t, namespace(t), registry))
	made.Spec.Target.ServiceAccounts = rules
	for _, change := range changes {
		change(made)
	}
	return create(t, made)
}

func accountsNamed(names ...string) v1alpha1.ServiceAccountSelector {
	return v1alpha1.ServiceAccountSelector{Names: names}
}

func secretNameOf(object *v1alpha1.ImagePullSecret) string { return object.Spec.Target.Secret.Name }

func expectAccounts(t *testing.T, name string, want v1alpha1.ServiceAccountCounts) {
	t.Helper()
	eventually(t, fmt.Sprintf("counts of %s: %+v", name, want), func() error {
		if got := get(t, name).Status.ServiceAccounts; got != want {
			return fmt.Errorf("they are %+v", got)
		}
		return nil
	})
}

func TestASecretIsAttachedBeforeItIsThere(t *testing.T) {
	t.Parallel()
	label := unique("label")
	early, known := namespace(t, label, "yes"), namespace(t)
	account := client.ObjectKey{Namespace: known, Name: "default"}
	made := newObject(unique("pull"), label, v1alpha1.CredentialSource{Name: "missing", Namespace: early})
	made.Spec.Target.ServiceAccounts = accountsNamed("default")
	create(t, made)
	pull := secretNameOf(made)
	expectAttached(t, client.ObjectKey{Namespace: early, Name: "default"}, pull, pull)
	expectAttached(t, account, "")
	if _, err := secretIn(t, early, pull); !apierrors.IsNotFound(err) {
		t.Errorf("reading the Secret: %v", err)
	}
	expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSourceNotFound)

	late := namespace(t, label, "yes")
	expectAttached(t, client.ObjectKey{Namespace: late, Name: "default"}, pull, pull)
	expectAccounts(t, made.Name, v1alpha1.ServiceAccountCounts{Selected: 2, Attached: 2})

	// Neither does a namespace that comes and goes by its labels wait for it.
	relabel(t, known, label, "yes")
	expectAttached(t, account, pull, pull)
	relabel(t, known, label, "no")
	expectAttached(t, account, "")
	remove(t, made)
	expectAttached(t, client.ObjectKey{Namespace: early, Name: "default"}, "")
}

func TestServiceAccountsAreSelectedByTheirRules(t *testing.T) {
	t.Parallel()
	label := unique("label")
	selected, other := namespace(t, label, "yes"), namespace(t)
	ci := []string{"tier", label}
	byLabel, bare := account(t, selected, nil, ci...), account(t, selected, nil)
	excluded, elsewhere := account(t, selected, nil, ci...), account(t, other, nil, ci...)
	mustChangeAccount(t, excluded, func(a *corev1.ServiceAccount) { a.Annotations = map[string]string{"keep-off": label} })
	rules := accountsNamed("defaul?")
	rules.Labels = []metav1.LabelSelector{{MatchLabels: pairs(ci)}}
	rules.Exclude.Annotations = []v1alpha1.AnnotationSelector{{MatchAnnotations: map[string]string{"keep-off": label}}}
	made := attachment(t, label, rules)
	pull := secretNameOf(made)
	expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	expectAccounts(t, made.Name, v1alpha1.ServiceAccountCounts{Selected: 2, Attached: 2})
	expectAttached(t, byLabel, pull, pull)
	expectAttached(t, client.ObjectKey{Namespace: selected, Name: "default"}, pull, pull)
	for _, key := range []client.ObjectKey{bare, excluded, elsewhere} {
		expectAttached(t, key, "")
	}

	mustChangeAccount(t, excluded, func(a *corev1.ServiceAccount) { delete(a.Annotations, "keep-off") })
	expectAttached(t, excluded, pull, pull)
	mustChangeAccount(t, byLabel, func(a *corev1.ServiceAccount) { a.Annotations["keep-off"] = label })
	expectAttached(t, byLabel, "")
	expectAccounts(t, made.Name, v1alpha1.ServiceAccountCounts{Selected: 2, Attached: 2})
}

func TestEntriesGoWithWhatTheyWereMadeFor(t *testing.T) {
	t.Parallel()
	for sentence, leave := range map[string]func(t *testing.T, made *v1alpha1.ImagePullSecret, key client.ObjectKey, label string){
		"the ServiceAccount's label leaves": func(t *testing.T, _ *v1alpha1.ImagePullSecret, key client.ObjectKey, _ string) {
			mustChangeAccount(t, key, func(a *corev1.ServiceAccount) { a.Labels = nil })
		},
		"the namespace leaves": func(t *testing.T, _ *v1alpha1.ImagePullSecret, key client.ObjectKey, label string) {
			relabel(t, key.Namespace, label, "no")
		},
		"the object goes": func(t *testing.T, made *v1alpha1.ImagePullSecret, _ client.ObjectKey, _ string) { remove(t, made) },
		"its rules go": func(t *testing.T, made *v1alpha1.ImagePullSecret, _ client.ObjectKey, _ string) {
			update(t, made.Name, func(o *v1alpha1.ImagePullSecret) {
				o.Spec.Target.ServiceAccounts = v1alpha1.ServiceAccountSelector{}
			})
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			label := unique("label")
			key := account(t, namespace(t, label, "yes"), []string{"first", "last"}, label, "yes")
			made := attachment(t, label, v1alpha1.ServiceAccountSelector{Labels: []metav1.LabelSelector{{MatchLabels: map[string]string{label: "yes"}}}})
			pull := secretNameOf(made)
			expectAttached(t, key, pull, "first", "last", pull)
			mustChangeAccount(t, key, func(a *corev1.ServiceAccount) {
				a.ImagePullSecrets = append(a.ImagePullSecrets, corev1.LocalObjectReference{Name: "later"})
			})
			leave(t, made, key, label)
			expectAttached(t, key, "", "first", "last", "later")
		})
	}
}

func TestASecretThatChangesItsNameChangesItInServiceAccounts(t *testing.T) {
	t.Parallel()
	label := unique("label")
	key := account(t, namespace(t, label, "yes"), []string{"first"})
	made := attachment(t, label, accountsNamed(key.Name))
	expectAttached(t, key, secretNameOf(made), "first", secretNameOf(made))
	renamed := unique("pull")
	update(t, made.Name, func(o *v1alpha1.ImagePullSecret) { o.Spec.Target.Secret.Name = renamed })
	expectAttached(t, key, renamed, "first", renamed)
	expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// What someone else added stays theirs, be it the same name.
func TestForeignEntriesStay(t *testing.T) {
	t.Parallel()
	label, pull := unique("label"), unique("pull")
	key := account(t, namespace(t, label, "yes"), []string{"b", pull, "a"})
	made := attachment(t, label, accountsNamed(key.Name), func(o *v1alpha1.ImagePullSecret) { o.Spec.Target.Secret.Name = pull })
	expectAccounts(t, made.Name, v1alpha1.ServiceAccountCounts{Selected: 1, Attached: 1})
	before := expectAttached(t, key, "", "b", pull, "a")
	remove(t, made)
	other := attachment(t, label, accountsNamed(key.Name)) // attached after that one was looked at
	expectAttached(t, key, secretNameOf(other), "b", pull, "a", secretNameOf(other))
	if before.ResourceVersion == "" || len(before.ManagedFields) != 1 {
		t.Errorf("a ServiceAccount that had the name was written: %+v", before.ManagedFields)
	}
}

// A controller such as OpenShift's adds its own Secrets to secrets and
// imagePullSecrets of each ServiceAccount, and is not disturbed.
func TestAControllerThatAddsSecretsOfItsOwnIsNotDisturbed(t *testing.T) {
	t.Parallel()
	label := unique("label")
	workload := namespace(t, label, "yes")
	made := attachment(t, label, accountsNamed("*"))
	pull := secretNameOf(made)
	for i := range 5 {
		key := account(t, workload, nil)
		dockercfg := fmt.Sprintf("%s-dockercfg-%05d", key.Name, i)
		mustChangeAccount(t, key, func(a *corev1.ServiceAccount) {
			a.Secrets = append(a.Secrets, corev1.ObjectReference{Name: dockercfg})
			a.ImagePullSecrets = append(a.ImagePullSecrets, corev1.LocalObjectReference{Name: dockercfg})
		})
		eventually(t, "both entries", func() error {
			found, err := accountAt(t.Context(), key)
			if err != nil {
				return err
			}
			names := attachedTo(found)
			slices.Sort(names)
			if !slices.Equal(names, slices.Sorted(slices.Values([]string{dockercfg, pull}))) || len(found.Secrets) != 1 || found.Secrets[0].Name != dockercfg {
				return fmt.Errorf("it has %v and secrets %v", names, found.Secrets)
			}
			return nil
		})
	}
	expectAccounts(t, made.Name, v1alpha1.ServiceAccountCounts{Selected: 6, Attached: 6})
	remove(t, made)
	expectAttached(t, client.ObjectKey{Namespace: workload, Name: "default"}, "")
}

// Writers add and remove entries of their own all the time, with care, while the
// operator attaches and detaches its own: no entry is lost.
func TestRacingWritersLoseNothing(t *testing.T) {
	t.Parallel()
	const writers, rounds = 4, 30
	label := unique("label")
	key := account(t, namespace(t, label, "yes"), []string{"first"})
	made := attachment(t, label, v1alpha1.ServiceAccountSelector{Labels: []metav1.LabelSelector{{MatchLabels: map[string]string{label: "yes"}}}})
	pull := secretNameOf(made)

	var group sync.WaitGroup
	for writer := range writers {
		group.Go(func() {
			for round := range rounds {
				own := func(round int) string { return fmt.Sprintf("own-%d-%d", writer, round) }
				err := changeAccount(t.Context(), key, func(a *corev1.ServiceAccount) {
					if round > 0 && !slices.Contains(attachedTo(a), own(round-1)) {
						t.Errorf("writer %d: entry %d is lost", writer, round-1)
					}
					a.ImagePullSecrets = slices.DeleteFunc(a.ImagePullSecrets, func(s corev1.LocalObjectReference) bool { return s.Name == own(round-1) })
					a.ImagePullSecrets = append(a.ImagePullSecrets, corev1.LocalObjectReference{Name: own(round)})
				})
				if err != nil {
					t.Errorf("writer %d: %v", writer, err)
				}
			}
		})
	}
	group.Go(func() { // selects it and does not, in turns
		for round := range rounds {
			err := changeAccount(t.Context(), key, func(a *corev1.ServiceAccount) {
				a.Labels = map[string]string{label: []string{"no", "yes"}[round%2]}
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
	group.Wait()
	eventually(t, "all entries", func() error {
		found, err := accountAt(t.Context(), key)
		if err != nil {
			return err
		}
		names := attachedTo(found)
		want := []string{"first", pull}
		for writer := range writers {
			want = append(want, fmt.Sprintf("own-%d-%d", writer, rounds-1))
		}
		if sorted := slices.Sorted(slices.Values(names)); names[0] != "first" || !slices.Equal(sorted, slices.Sorted(slices.Values(want))) {
			return fmt.Errorf("they are %v", names)
		}
		return nil
	})
}

// A name that someone takes away again and again is put back once, then ever
// more rarely, and reported.
func TestAWriterThatReplacesTheListIsReportedAndNotFought(t *testing.T) {
	t.Parallel()
	label := unique("label")
	key := account(t, namespace(t, label, "yes"), []string{"theirs"})
	made := attachment(t, label, accountsNamed(key.Name))
	pull := secretNameOf(made)
	putBack := 0
	replace := func() {
		mustChangeAccount(t, key, func(a *corev1.ServiceAccount) {
			if slices.Contains(attachedTo(a), pull) {
				putBack++
			}
			// As a tool does that knows of nothing but its manifest.
			a.ImagePullSecrets, a.Annotations = []corev1.LocalObjectReference{{Name: "theirs"}}, map[string]string{"applied": unique("at")}
		})
	}
	expectAttached(t, key, pull, "theirs", pull)
	replace()
	expectAttached(t, key, pull, "theirs", pull) // once at once
	eventually(t, "the contest is told of", func() error {
		replace()
		failing := get(t, made.Name).Status.Failing
		if len(failing) != 1 || failing[0].Reason != v1alpha1.ReasonAttachmentContested {
			return fmt.Errorf("failing is %+v", failing)
		}
		return nil
	})
	message := expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAttachmentContested)
	for _, want := range []string{key.String(), pull, "manifest", "spec.target.serviceAccounts.exclude"} {
		if !strings.Contains(message, want) {
			t.Errorf("the message lacks %q: %s", want, message)
		}
	}
	expectAccounts(t, made.Name, v1alpha1.ServiceAccountCounts{Selected: 1, Failing: 1})
	expectAccountEvent(t, key, v1alpha1.ReasonAttachmentContested)
	const more = 50
	for range more {
		replace()
	}
	if putBack > 5 {
		t.Errorf("the name was put back %d times against %d writes", putBack, more)
	}
	// The other writer gives in.
	eventuallyLong(t, "the name is back", func() error {
		found, err := accountAt(t.Context(), key)
		if err != nil {
			return err
		}
		if got := attachedTo(found); !slices.Equal(got, []string{"theirs", pull}) {
			return fmt.Errorf("imagePullSecrets are %v", got)
		}
		return nil
	})
	expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func expectAccountEvent(t *testing.T, key client.ObjectKey, reason string) {
	t.Helper()
	eventually(t, fmt.Sprintf("event %s about ServiceAccount %s", reason, key), func() error {
		var list eventsv1.EventList
		if err := shared.api.List(t.Context(), &list, client.InNamespace(key.Namespace)); err != nil {
			return err
		}
		for _, event := range list.Items {
			if event.Regarding.Kind == "ServiceAccount" && event.Regarding.Name == key.Name && event.Reason == reason && event.Type == corev1.EventTypeWarning {
				return nil
			}
		}
		return errors.New("there is none")
	})
}

func TestAnAttachedServiceAccountIsNotWrittenAgain(t *testing.T) {
	t.Parallel()
	label := unique("label")
	key := account(t, namespace(t, label, "yes"), []string{"first"})
	made := attachment(t, label, accountsNamed(key.Name))
	expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	expectAttached(t, key, secretNameOf(made), "first", secretNameOf(made))
	mustChangeAccount(t, key, func(a *corev1.ServiceAccount) { a.Labels = map[string]string{"nudge": "one"} })
	nudged, err := accountAt(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	// A new spec has all of its ServiceAccounts looked at, before it is ready.
	for _, value := range []v1alpha1.LabelValue{"one", "two"} {
		update(t, made.Name, func(o *v1alpha1.ImagePullSecret) {
			o.Spec.Target.Secret.Labels = map[string]v1alpha1.LabelValue{"nudge": value}
		})
		expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	}
	if after, err := accountAt(t.Context(), key); err != nil || after.ResourceVersion != nudged.ResourceVersion {
		t.Errorf("it was written again (%v): %+v", err, after)
	}
}

// With deletionPolicy Retain the Secret outlives its object, and the entry with
// it, for as long as it stands.
func TestTheEntryOfARetainedSecretStaysWithIt(t *testing.T) {
	t.Parallel()
	label := unique("label")
	workload := namespace(t, label, "yes")
	key, unselected := account(t, workload, nil, label, "yes"), account(t, workload, nil, label, "yes")
	made := attachment(t, label, v1alpha1.ServiceAccountSelector{Labels: []metav1.LabelSelector{{MatchLabels: map[string]string{label: "yes"}}}},
		func(o *v1alpha1.ImagePullSecret) { o.Spec.Target.DeletionPolicy = v1alpha1.DeletionRetain })
	pull := secretNameOf(made)
	expectReady(t, made.Name, 1)
	expectAttached(t, key, pull, pull)
	mustChangeAccount(t, unselected, func(a *corev1.ServiceAccount) { a.Labels = nil })
	expectAttached(t, unselected, "") // its own rules let it go

	remove(t, made)
	// Something else that is attached shows that the end was seen.
	other := attachment(t, label, accountsNamed(key.Name))
	expectAttached(t, key, strings.Join(slices.Sorted(slices.Values([]string{pull, secretNameOf(other)})), ","), pull, secretNameOf(other))
	remove(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: workload, Name: pull}})
	expectAttached(t, key, secretNameOf(other), secretNameOf(other))
}

func TestASuspendedObjectLeavesServiceAccountsAsTheyAre(t *testing.T) {
	t.Parallel()
	label := unique("label")
	workload := namespace(t, label, "yes")
	kept := account(t, workload, nil)
	made := attachment(t, label, accountsNamed(kept.Name))
	pull := secretNameOf(made)
	expectAttached(t, kept, pull, pull)
	update(t, made.Name, func(o *v1alpha1.ImagePullSecret) {
		o.Spec.Suspend, o.Spec.Target.ServiceAccounts = true, accountsNamed("default")
	})
	expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionUnknown, v1alpha1.ReasonSuspended)
	other := attachment(t, label, accountsNamed(kept.Name, "default")) // is carried out after that
	for _, key := range []client.ObjectKey{kept, {Namespace: workload, Name: "default"}} {
		eventually(t, "the other one's name", func() error {
			found, err := accountAt(t.Context(), key)
			if err == nil && !slices.Contains(attachedTo(found), secretNameOf(other)) {
				err = errors.New("it is missing")
			}
			if err == nil && slices.Contains(attachedTo(found), pull) != (key == kept) {
				t.Errorf("%s has %v", key, attachedTo(found))
			}
			return err
		})
	}
	update(t, made.Name, func(o *v1alpha1.ImagePullSecret) { o.Spec.Suspend = false })
	expectAttached(t, kept, secretNameOf(other), secretNameOf(other))
	expectAccounts(t, made.Name, v1alpha1.ServiceAccountCounts{Selected: 1, Attached: 1})
}

func TestABrokenRuleForServiceAccountsIsTold(t *testing.T) {
	t.Parallel()
	label := unique("label")
	key := account(t, namespace(t, label, "yes"), nil)
	made := attachment(t, label, accountsNamed(key.Name, "["))
	message := expectCondition(t, made.Name, v1alpha1.ConditionTargetsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidSelector)
	if want := "spec.target.serviceAccounts.names[1]"; !strings.Contains(message, want) {
		t.Errorf("the message lacks %q: %s", want, message)
	}
	expectAttached(t, key, secretNameOf(made), secretNameOf(made))
	// What the broken rule would have selected is unknown, so nothing is taken away.
	update(t, made.Name, func(o *v1alpha1.ImagePullSecret) { o.Spec.Target.ServiceAccounts = accountsNamed("[") })
	expectCondition(t, made.Name, v1alpha1.ConditionTargetsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidSelector)
	expectAttached(t, key, secretNameOf(made), secretNameOf(made))
	update(t, made.Name, func(o *v1alpha1.ImagePullSecret) { o.Spec.Target.ServiceAccounts = accountsNamed("none") })
	expectAttached(t, key, "")
}

func TestAttachingWithAnOperatorOfItsOwn(t *testing.T) {
	own := ownCluster(t, withoutRights)
	label := unique("label")
	key := account(t, namespace(t, label, "yes"), []string{"first"})
	ref := staticSource(t, namespace(t), registry)
	grantRules(t, shared.api, "named", namedRules("pull", ref.Name)...)
	made := newObject("pull", label, ref)
	made.Spec.Target.ServiceAccounts = accountsNamed(key.Name)
	create(t, made)
	const rule = `{apiGroups: [""], resources: [serviceaccounts], verbs: [get, list, watch, patch]}`
	arguments := []string{"--target-secret-names=pull", "--pod-selectors=false"}

	process := runOperator(t, own, append(arguments, "--service-accounts=false")...)
	message := expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidSelector)
	if !strings.Contains(message, "--service-accounts=false") || !strings.Contains(message, "serviceAccounts.enabled") {
		t.Errorf("the message does not name the switch: %s", message)
	}
	if err := process.Stop(); err != nil {
		t.Fatal(err)
	}

	process = runOperator(t, own, arguments...)
	message = expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAttachForbidden)
	if !strings.Contains(message, rule) {
		t.Errorf("the message lacks %q: %s", rule, message)
	}
	expectSecret(t, key.Namespace, "pull", registry) // all else works
	grantRules(t, shared.api, "account-reader", accountRule("get", "list", "watch"))
	eventuallyLong(t, "a ServiceAccount that may not be changed is told of", func() error {
		failing := get(t, made.Name).Status.Failing
		if len(failing) != 1 || failing[0].ServiceAccount != key.Name || failing[0].Reason != v1alpha1.ReasonAttachForbidden || !strings.Contains(failing[0].Message, rule) {
			return fmt.Errorf("failing is %+v", failing)
		}
		return nil
	})
	grantRules(t, shared.api, "account-writer", accountRule("patch"))
	eventuallyLong(t, "it is attached", func() error {
		if !meta.IsStatusConditionTrue(get(t, made.Name).Status.Conditions, v1alpha1.ConditionReady) {
			return errors.New("not yet")
		}
		return nil
	})
	before := expectAttached(t, key, "pull", "first", "pull")
	status := get(t, made.Name).ResourceVersion
	if err := process.Stop(); err != nil {
		t.Fatal(err)
	}

	// A restart writes nothing, and finds what went meanwhile.
	marker := newObject("pull", unique("label"), ref)
	process = runOperator(t, own, arguments...)
	create(t, marker)
	expectCondition(t, marker.Name, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonNothingSelected)
	if after := expectAttached(t, key, "pull", "first", "pull"); after.ResourceVersion != before.ResourceVersion {
		t.Error("the ServiceAccount was written after a restart")
	}
	if after := get(t, made.Name).ResourceVersion; after != status {
		t.Error("the status was written after a restart")
	}
	metrics, err := process.Metrics(t.Context())
	if err != nil || strings.Contains(metrics, "imagepullsecret_serviceaccount_writes_total{") {
		t.Errorf("after a restart a ServiceAccount was to be written, if in vain: %v", err)
	}
	if err := process.Stop(); err != nil {
		t.Fatal(err)
	}
	remove(t, made)
	runOperator(t, own, arguments...)
	expectAttached(t, key, "", "first")
}

func accountRule(verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, Verbs: verbs}
}
