package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

const (
	// accountsEach is how many ServiceAccounts there are in each namespace.
	accountsEach = 5
	// plainAttached and racedAttached are what the plain client, and the one
	// that races the operator, add to ServiceAccounts.
	plainAttached = "hand"
	racedAttached = "raced"
	// notThere is a source that does not exist: names are attached all the
	// same, and no Secret is written meanwhile.
	notThere = "not-there"
)

// account is the namespace and name of a ServiceAccount by its number.
func (w *world) account(i int) types.NamespacedName {
	return types.NamespacedName{Namespace: namespaceName(i % w.n), Name: fmt.Sprintf("runner-%d", i/w.n)}
}

// accounts is how many there are.
func (w *world) accounts() int { return w.n * accountsEach }

// measureAttaching takes figure h: from the creation of an ImagePullSecret until
// its Secret's name stands in all ServiceAccounts, beside the plain client's
// time for as many merge patches; what is lost while another writer changes the
// same lists; and what is written while idle.
func (b *bench) measureAttaching(ctx context.Context, w *world) (err error) {
	if err := w.ungrant(ctx); err != nil {
		return err
	}
	if err := w.createAccounts(ctx); err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	attached, err := observeAccounts(watching, w.admin, targetSecret)
	if err != nil {
		return err
	}
	made, err := observeAccounts(watching, w.admin, plainAttached)
	if err != nil {
		return err
	}
	if _, err := w.plainAttach(ctx, made); err != nil { // warms the API server up
		return err
	}
	var plain, operator []time.Duration
	for round := range b.settings.rounds {
		took, err := w.plainAttach(ctx, made)
		if err != nil {
			return err
		}
		plain = append(plain, took)
		if took, err = w.operatorAttach(ctx, attached, nil); err != nil {
			return err
		}
		operator = append(operator, took)
		b.progress.printf("attaching, round %d: plain client %s, operator %s", round+1, short(plain[round]), short(took))
	}
	b.results.ratio("h", w.n, fmt.Sprintf("attached to %d ServiceAccounts", w.accounts()), plain, operator, bulkTarget)
	if err := w.attachBesideAnother(ctx, attached); err != nil {
		return err
	}
	return w.idleAttached(ctx, attached)
}

// createAccounts makes the ServiceAccounts that are selected.
func (w *world) createAccounts(ctx context.Context) error {
	err := w.plain.filling(ctx, "creating ServiceAccounts", w.accounts(), func(i int) error {
		key := w.account(i)
		made := &corev1.ServiceAccount{
			ObjectMeta:       metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
			ImagePullSecrets: []corev1.LocalObjectReference{{Name: "foreign"}},
		}
		_, err := w.admin.CoreV1().ServiceAccounts(key.Namespace).Create(ctx, made, metav1.CreateOptions{})
		return err
	})
	return errors.Join(err, w.quiet(ctx))
}

// versions are the resource versions of all ServiceAccounts.
func (w *world) versions(ctx context.Context) (map[types.NamespacedName]string, error) {
	list, err := w.admin.CoreV1().ServiceAccounts(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	versions := map[types.NamespacedName]string{}
	for i := range list.Items {
		versions[types.NamespacedName{Namespace: list.Items[i].Namespace, Name: list.Items[i].Name}] = list.Items[i].ResourceVersion
	}
	return versions, nil
}

// plainAttach has the plain client write all lists, as the operator does, and
// takes its entries away again.
func (w *world) plainAttach(ctx context.Context, made *accountObserver) (time.Duration, error) {
	var took time.Duration
	for _, secrets := range [][]string{{"foreign", plainAttached}, {"foreign"}} {
		versions, err := w.versions(ctx)
		if err != nil {
			return took, err
		}
		begin, want := time.Now(), (len(secrets)-1)*w.accounts()
		err = w.progress.during("the plain client writes ServiceAccounts", made.describe, func() error {
			if err := w.plain.each(ctx, w.accounts(), nil, func(i int) error { return w.patchAccount(ctx, w.account(i), versions, secrets) }); err != nil {
				return err
			}
			end, err := made.await(ctx, made.all(want))
			if want > 0 {
				took = end.Sub(begin)
			}
			return err
		})
		if err = errors.Join(err, w.quiet(ctx)); err != nil {
			return took, err
		}
	}
	return took, nil
}

// patchAccount sets the imagePullSecrets of a ServiceAccount whose version is
// known, and an annotation of the length of the operator's.
func (w *world) patchAccount(ctx context.Context, key types.NamespacedName, versions map[types.NamespacedName]string, secrets []string) error {
	refs := make([]corev1.LocalObjectReference, len(secrets))
	for i, name := range secrets {
		refs[i].Name = name
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"resourceVersion": versions[key], "annotations": map[string]string{"images.example.com/attached": secrets[len(secrets)-1]},
		},
		"imagePullSecrets": refs,
	})
	if err != nil {
		return err
	}
	_, err = w.admin.CoreV1().ServiceAccounts(key.Namespace).Patch(ctx, key.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "plain"})
	return err
}

// operatorAttach creates the ImagePullSecret, waits until its name stands in all
// ServiceAccounts, and deletes it again. beside, if given, runs at the same time.
func (w *world) operatorAttach(ctx context.Context, attached *accountObserver, beside func() error) (time.Duration, error) {
	requests, err := w.serverRequests(ctx)
	if err != nil {
		return 0, err
	}
	cpu := w.operatorCPU(ctx)
	var took time.Duration
	err = w.progress.during("the operator attaches", attached.describe, func() error {
		begin := time.Now()
		if err := w.grant(ctx, notThere, byAccountName); err != nil {
			return err
		}
		var besides error
		if beside != nil {
			besides = beside()
		}
		end, err := attached.await(ctx, attached.all(w.accounts()))
		took = end.Sub(begin)
		return errors.Join(besides, err)
	})
	if err = errors.Join(err, w.quiet(ctx)); err != nil {
		return took, err
	}
	after, err := w.serverRequests(ctx)
	if err != nil {
		return took, err
	}
	added := after.since(requests)
	w.progress.printf("the operator used %s of processor time; requests: %s",
		short(w.operatorCPU(ctx)-cpu), added.filter(of("serviceaccounts", "imagepullsecrets", "events")))
	if beside != nil {
		return took, nil // which stays
	}
	w.results.exactly("h", w.n, "ServiceAccount writes of attaching", added.sum(both(writes, of("serviceaccounts"))), w.accounts())
	return took, w.detach(ctx, attached)
}

// detach deletes the ImagePullSecret and waits until all of its entries are gone.
func (w *world) detach(ctx context.Context, attached *accountObserver) error {
	err := w.progress.during("the operator detaches", attached.describe, func() error {
		object := &v1alpha1.ImagePullSecret{ObjectMeta: metav1.ObjectMeta{Name: grantName}}
		if err := w.objects.Delete(ctx, object); err != nil {
			return err
		}
		_, err := attached.await(ctx, attached.all(0))
		return err
	})
	return errors.Join(err, w.quiet(ctx))
}

// byAccountName selects the labelled namespaces, and in them the ServiceAccounts.
func byAccountName(target *v1alpha1.TargetConfig) {
	byNamespaceLabel(target)
	target.ServiceAccounts.Names = []string{"runner-*"}
}

// attachBesideAnother has the operator attach while another writer adds an entry
// of its own to each ServiceAccount, and looks for what was lost. It leaves all
// of it standing.
func (w *world) attachBesideAnother(ctx context.Context, attached *accountObserver) error {
	before, err := w.accountWrites(ctx)
	if err != nil {
		return err
	}
	var conflicts atomic.Int64
	took, err := w.operatorAttach(ctx, attached, func() error {
		return w.plain.each(ctx, w.accounts(), nil, func(i int) error { return w.addRaced(ctx, w.account(i), &conflicts) })
	})
	if err != nil {
		return err
	}
	now, err := w.accountWrites(ctx)
	if err != nil {
		return err
	}
	lost, err := w.lost(ctx)
	if err != nil {
		return err
	}
	added := now.since(before)
	w.results.exactlyWith("h", w.n, "entries lost beside another writer", lost, 0,
		fmt.Sprintf("of three in each ServiceAccount; took %s; the operator's writes: %s; the other's conflicts: %d", short(took), added, conflicts.Load()))
	return nil
}

// addRaced adds an entry as a careful writer does.
func (w *world) addRaced(ctx context.Context, key types.NamespacedName, conflicts *atomic.Int64) error {
	accounts := w.admin.CoreV1().ServiceAccounts(key.Namespace)
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		account, err := accounts.Get(ctx, key.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		account.ImagePullSecrets = append(account.ImagePullSecrets, corev1.LocalObjectReference{Name: racedAttached})
		if _, err = accounts.Update(ctx, account, metav1.UpdateOptions{}); err != nil {
			conflicts.Add(1)
		}
		return err
	})
}

// lost counts entries that should stand and do not.
func (w *world) lost(ctx context.Context) (int, error) {
	list, err := w.admin.CoreV1().ServiceAccounts(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, err
	}
	standing := 0
	for i := range list.Items {
		for _, name := range []string{"foreign", racedAttached, targetSecret} {
			if slices.Contains(list.Items[i].ImagePullSecrets, corev1.LocalObjectReference{Name: name}) {
				standing++
			}
		}
	}
	return 3*w.accounts() - standing, nil
}

// accountWrites returns how many ServiceAccounts the operator says that it wrote.
func (w *world) accountWrites(ctx context.Context) (counts, error) {
	return w.operatorCounts(ctx, "imagepullsecret_serviceaccount_writes_total", "result")
}

// idleAttached counts the operator's requests while everything is attached and
// nothing happens, and then takes all of it away.
func (w *world) idleAttached(ctx context.Context, attached *accountObserver) error {
	server, own, err := w.idleCounts(ctx)
	if err != nil {
		return err
	}
	err = w.progress.wait(ctx, "watching the operator idle", w.settings.idle)
	if err != nil {
		return err
	}
	serverNow, ownNow, err := w.idleCounts(ctx)
	if err != nil {
		return err
	}
	everyone := serverNow.since(server).filter(of("serviceaccounts", "secrets", "imagepullsecrets", "events"))
	note := fmt.Sprintf("operator by method: %s; API server, all clients: %s", ownNow.since(own), everyone)
	w.results.exactlyWith("h", w.n, fmt.Sprintf("writes while idle for %s, all attached", w.settings.idle),
		everyone.sum(both(writes, of("serviceaccounts", "secrets", "imagepullsecrets"))), 0, note)
	return w.detach(ctx, attached)
}
