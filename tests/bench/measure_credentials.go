package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/federation"
)

// What figure g is measured with.
const (
	credentialNamespaces = 20
	credentialObjects    = 5
	sourcesPerObject     = 100 // the most that one object may have
	allCredentials       = credentialObjects * sourcesPerObject

	// latestRenewal is the part of a life after which the operator renews a
	// login at the latest, by default: half of it, and a tenth of that.
	latestRenewal = 0.55
	// cloudLatency is what each request to AWS takes; an exchange makes two.
	cloudLatency = time.Second
	// stampedeRemaining is what is left of all logins when the operator starts.
	stampedeRemaining = time.Minute
	// ageing is more than it takes to rewrite what is persisted.
	ageing = 10 * time.Second
	// minLife of a login leaves time for all to be renewed at once.
	minLife = 90 * time.Second
	// bookInterval is far less than the time from one renewal to the next.
	bookInterval = 5 * time.Second
)

// measureCredentials takes figure g: what many short-lived logins in big
// Secrets cost, and how far from their end they are renewed.
func (b *bench) measureCredentials(ctx context.Context) (err error) {
	// The Secrets of a minute would fill etcd, which keeps what was overwritten.
	w, err := b.newWorld(ctx, credentialNamespaces, "--etcd-compaction-interval=10s")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	history, err := w.obtainCredentials(ctx)
	if err != nil {
		return err
	}
	w.cloud.SetLatency(cloudLatency)
	if err := w.measureRestart(ctx, "g", fmt.Sprintf("%d persisted leases", allCredentials)); err != nil {
		return err
	}
	book := leaseBook{}
	if err := w.measureStampede(ctx, book, history); err != nil {
		return err
	}
	return w.measureRenewals(ctx, book, history)
}

// obtainCredentials makes the objects and waits until every login stands in
// every namespace.
func (w *world) obtainCredentials(ctx context.Context) (*loginHistory, error) {
	if err := federation.TrustCluster(w.cloud, w.cluster); err != nil {
		return nil, err
	}
	id := federation.Identity{Issuer: w.cluster.Issuer(), Namespace: home, Name: "puller"}
	if err := id.Create(ctx, w.objects); err != nil {
		return nil, err
	}
	watching, stop := context.WithCancel(ctx)
	stopObservers := w.stop
	w.stop = func() { stop(); stopObservers() }
	history, err := watchLogins(watching, w.cluster.Config())
	if err != nil {
		return nil, err
	}
	state := func() string {
		return fmt.Sprintf("%d of %d logins stand", history.standing(), allCredentials*credentialNamespaces)
	}
	err = w.progress.during(fmt.Sprintf("obtaining %d credentials for %d namespaces", allCredentials, credentialNamespaces), state, func() error {
		for i := range credentialObjects {
			if err := w.grantFederated(ctx, id, i); err != nil {
				return err
			}
		}
		return until(ctx, func() (bool, error) { return history.standing() == allCredentials*credentialNamespaces, nil })
	})
	return history, errors.Join(err, w.quiet(ctx))
}

// grantFederated makes object number i, with a role and a registry of its own
// for each source.
func (w *world) grantFederated(ctx context.Context, id federation.Identity, i int) error {
	object := &v1alpha1.ImagePullSecret{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("many-%d", i)}}
	object.Spec.Target.Secret.Name = object.Name
	byNamespaceLabel(&object.Spec.Target)
	for source := range sourcesPerObject {
		made := federation.ECR(w.cloud, id, i*sourcesPerObject+source)
		object.Spec.Registry.Credentials = append(object.Spec.Registry.Credentials, made.Entry)
	}
	return w.objects.Create(ctx, object)
}

// measureStampede has all logins end in the same second, soon after the
// operator's start.
func (w *world) measureStampede(ctx context.Context, book leaseBook, history *loginHistory) error {
	if err := w.operator.Stop(); err != nil {
		return err
	}
	expires := time.Now().Add(stampedeRemaining + ageing)
	err := w.progress.during("rewriting what is persisted", nil, func() error {
		return book.age(ctx, w, func(int, int) lease { return lease{issued: expires.Add(-longLife), expires: expires} })
	})
	if err != nil {
		return err
	}
	time.Sleep(time.Until(expires.Add(-stampedeRemaining)))
	begin := time.Now()
	if err := w.startOperator(ctx); err != nil {
		return err
	}
	var complete []renewal
	state := func() string { return fmt.Sprintf("%s to their end", short(time.Until(expires))) }
	err = w.progress.during(fmt.Sprintf("renewing %d logins that end together", allCredentials), state, func() error {
		return until(ctx, func() (bool, error) {
			all, pending, err := history.renewals(ctx, w, book)
			complete = since(all, begin)
			return len(complete) == allCredentials && pending == 0, err
		})
	})
	if err != nil {
		return err
	}
	memory, err := w.memory()
	if err != nil {
		return err
	}
	worst, late := worstOf(complete)
	w.results.exactly("g", w.n, "logins of the stampede that ended before their renewal stood everywhere", late, 0)
	w.results.info("g", w.n, "smallest remaining life in the stampede", short(worst.left),
		fmt.Sprintf("%d logins with %s left at the start, %s of latency; processor time %s; peak RSS %.1f MiB",
			len(complete), stampedeRemaining, cloudLatency, short(w.operatorCPU(ctx)), memory["VmHWM"]))
	return w.quiet(ctx)
}

// measureRenewals lets logins live for minutes instead of hours, with their
// renewals spread evenly, and counts for as long as one lives.
func (w *world) measureRenewals(ctx context.Context, book leaseBook, history *loginHistory) error {
	if err := w.operator.Stop(); err != nil {
		return err
	}
	life := w.settings.life
	w.cloud.LimitLifetime(life)
	begin := time.Now().Add(ageing)
	err := w.progress.during("rewriting what is persisted", nil, func() error {
		return book.age(ctx, w, func(i, n int) lease {
			issued := begin.Add(-life / 2 * time.Duration(i) / time.Duration(n))
			return lease{issued: issued, expires: issued.Add(life)}
		})
	})
	if err != nil {
		return err
	}
	time.Sleep(time.Until(begin))
	if err := w.startOperator(ctx); err != nil {
		return err
	}
	if err := w.keepBook(ctx, book, "the first renewal of every login", life*6/10); err != nil {
		return err
	}
	before, err := w.upkeep(ctx)
	if err != nil {
		return err
	}
	if err := w.keepBook(ctx, book, "counting renewals", life); err != nil {
		return err
	}
	after, err := w.upkeep(ctx)
	if err != nil {
		return err
	}
	complete, err := w.renewalsOf(ctx, book, history, before.at, after.at)
	if err != nil {
		return err
	}
	return w.tellUpkeep(before, after, complete)
}

// keepBook reads what is persisted again and again for a while.
func (w *world) keepBook(ctx context.Context, book leaseBook, what string, long time.Duration) error {
	end := time.Now().Add(long)
	left := func() string { return time.Until(end).Round(time.Second).String() + " left" }
	return w.progress.during(what, left, func() error {
		for time.Now().Before(end) {
			if err := book.read(ctx, w); err != nil {
				return err
			}
			select {
			case <-time.After(min(bookInterval, time.Until(end))):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
}

// renewalsOf returns the renewals that began in a window, once the new logins
// stand everywhere.
func (w *world) renewalsOf(ctx context.Context, book leaseBook, history *loginHistory, begin, end time.Time) ([]renewal, error) {
	if err := w.keepBook(ctx, book, "waiting for what was begun", 2*bookInterval); err != nil {
		return nil, err
	}
	var complete []renewal
	var stand, wanted atomic.Int64
	state := func() string { return fmt.Sprintf("%d of %d stand everywhere", stand.Load(), wanted.Load()) }
	err := w.progress.during("waiting for the new logins to stand", state, func() error {
		return until(ctx, func() (bool, error) {
			all, _, err := history.renewals(ctx, w, book)
			complete = slices.DeleteFunc(since(all, begin), func(r renewal) bool { return !r.issued.Before(end) })
			stand.Store(int64(len(complete)))
			wanted.Store(int64(book.between(begin, end)))
			return stand.Load() == wanted.Load(), err
		})
	})
	return complete, err
}

// until waits until check says so.
func until(ctx context.Context, check func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if done, err := check(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain: %w", ctx.Err())
		case <-time.After(time.Second):
		}
	}
}

// since returns the renewals that began at a time or later.
func since(all []renewal, begin time.Time) []renewal {
	return slices.DeleteFunc(all, func(r renewal) bool { return r.issued.Before(begin) })
}

// worstOf returns the renewal that left the least of the earlier login, and how
// many left nothing of it.
func worstOf(all []renewal) (worst renewal, late int) {
	for i, r := range all {
		if i == 0 || r.left < worst.left {
			worst = r
		}
		if r.left <= 0 {
			late++
		}
	}
	return worst, late
}

// upkeep is what the operator has done at a time.
type upkeep struct {
	at                          time.Time
	cpu                         time.Duration
	exchanges, writes, requests counts
}

func (w *world) upkeep(ctx context.Context) (u upkeep, err error) {
	if u.exchanges, err = w.operatorCounts(ctx, "imagepullsecret_exchanges_total", "result"); err != nil {
		return u, err
	}
	if u.writes, err = w.targetWrites(ctx); err != nil {
		return u, err
	}
	if u.requests, err = w.operatorCounts(ctx, "rest_client_requests_total", "method"); err != nil {
		return u, err
	}
	u.at, u.cpu = time.Now(), w.operatorCPU(ctx)
	return u, nil
}

// tellUpkeep adds what was counted, and what follows from it for an hour and for
// logins that live for hours.
func (w *world) tellUpkeep(before, after upkeep, complete []renewal) error {
	memory, err := w.memory()
	if err != nil {
		return err
	}
	results, cpu, window := after.exchanges.since(before.exchanges), after.cpu-before.cpu, after.at.Sub(before.at)
	made, writes := results.sum(everything), after.writes.since(before.writes)
	if made == 0 || len(complete) == 0 {
		return fmt.Errorf("no login was renewed in %s: %s", short(window), results)
	}
	perHour := float64(made) / window.Hours()
	long := perHour * w.settings.life.Hours() / longLife.Hours()
	each := cpu.Seconds() / float64(made)
	worst, late := worstOf(complete)
	lives := fmt.Sprintf("%d credentials with lives of %s, %s of latency", allCredentials, w.settings.life, cloudLatency)
	add := func(what, value, notes string) { w.results.info("g", w.n, what, value, notes) }
	add("exchanges, counted", fmt.Sprintf("%d in %s", made, short(window)), lives+"; "+results.String())
	add("exchanges an hour", fmt.Sprintf("%.0f", perHour),
		fmt.Sprintf("extrapolated from the count; with lives of %s, by as many renewals of each: %.0f", longLife, long))
	add("operator's processor time for 1,000 exchanges", short(time.Duration(each*1000*float64(time.Second))),
		fmt.Sprintf("%s counted, with %.1f Secret writes an exchange of %d that there are if renewals are far apart (%s; requests: %s)",
			short(cpu), float64(writes.sum(everything))/float64(made), w.n, writes, after.requests.since(before.requests)))
	add("operator's processor time an hour", short(time.Duration(cpu.Seconds()/window.Hours()*float64(time.Second))),
		fmt.Sprintf("extrapolated; with lives of %s, where each exchange is written by itself: %.0f s at most", longLife,
			cpu.Seconds()/float64(max(1, writes.sum(everything)))*float64(w.n)*long))
	add("peak RSS while renewing", fmt.Sprintf("%.1f MiB", memory["VmHWM"]), memory.String())
	w.results.atMost("g", w.n, "logins that ended before their renewal stood everywhere", late, 0)
	took, part := distribution(complete, renewal.seconds), distribution(complete, renewal.part)
	add("latest renewal", fmt.Sprintf("%.0f %% of the life left", 100*worst.part()),
		fmt.Sprintf("of %d; median %.0f %%; with lives of %s, by the longest time to stand everywhere: %.1f %%", len(complete),
			100*part[len(part)/2], longLife, 100*(1-latestRenewal-took[len(took)-1]/longLife.Seconds())))
	add("longest time from an exchange's begin until its login stood everywhere", fmt.Sprintf("%.1f s", took[len(took)-1]),
		fmt.Sprintf("in %d Secrets of %d logins; median %.1f s, of which the cloud's latency is %s", w.n, sourcesPerObject, took[len(took)/2], 2*cloudLatency))
	return nil
}

// distribution returns a number of each renewal, sorted.
func distribution(all []renewal, number func(renewal) float64) []float64 {
	numbers := make([]float64, len(all))
	for i, r := range all {
		numbers[i] = number(r)
	}
	slices.Sort(numbers)
	return numbers
}
