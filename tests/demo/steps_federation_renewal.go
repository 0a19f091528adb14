package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// asked is how often a service was asked.
type asked struct {
	service fakecloud.Service
	calls   int
}

// askedOnce is how often each service is asked when every source of
// federation.Kinds gets one login.
func askedOnce() []asked {
	return []asked{
		{fakecloud.STS, 4}, // three roles, and the second of a chain
		{fakecloud.ECR, 2}, {fakecloud.ECRPublic, 1},
		{fakecloud.GoogleSTS, 3},
		{fakecloud.GoogleIAM, 2}, // two service accounts that are impersonated
		{fakecloud.Chainguard, 1},
		{fakecloud.AzureAD, 1}, {fakecloud.ACR, 1},
		{fakecloud.Quay, 1},
		{fakecloud.TokenExchange, 1}, {fakecloud.JFrog, 1}, {fakecloud.DockerHub, 1},
	}
}

// federatedLogins is what is known of all federated logins at one moment.
type federatedLogins struct {
	told   []v1alpha1.CredentialStatus // one for each source, in order
	secret *corev1.Secret
	logins keychain
	calls  []asked
	// since is the moment for the witness.
	since int
}

// lastExpiry is when the last of the logins expires.
func (l federatedLogins) lastExpiry() time.Time {
	last := slices.MaxFunc(l.told, func(a, b v1alpha1.CredentialStatus) int { return a.ExpiresAt.Compare(b.ExpiresAt.Time) })
	return last.ExpiresAt.Time
}

// federatedStatus reads what the object tells of its credentials.
func (s *story) federatedStatus(ctx context.Context) ([]v1alpha1.CredentialStatus, error) {
	object := &v1alpha1.ImagePullSecret{}
	if err := s.api.Get(ctx, client.ObjectKey{Name: federatedName}, object); err != nil {
		return nil, fmt.Errorf("read ImagePullSecret %s: %w", federatedName, err)
	}
	return object.Status.Credentials, nil
}

// renewsLater tells why a credential's renewal may be under way, if it may.
func renewsLater(_ int, told v1alpha1.CredentialStatus) error {
	if time.Until(told.RenewAt.Time) < time.Second {
		return fmt.Errorf("the renewal of %s under way", told.Name)
	}
	return nil
}

// currentLogins reads all logins when nothing is changing and each
// credential's status is as it is to be.
func (s *story) currentLogins(ctx context.Context, expected string, check func(int, v1alpha1.CredentialStatus) error) (federatedLogins, error) {
	var now federatedLogins
	err := s.eventually(ctx, expected, patience, func(ctx context.Context) (err error) {
		before := s.calls()
		if now.told, err = s.federatedStatus(ctx); err != nil {
			return err
		}
		if err := s.checkTold(now.told, check); err != nil {
			return err
		}
		if now.secret, err = s.secretNamed(ctx, federatedNamespace, federatedName); err != nil {
			return err
		}
		now.logins = loginsOf(now.secret)
		if missing := missingLogin(s.federated, now.logins); missing != "" {
			return errors.New("no login for " + missing)
		}
		if now.calls = s.calls(); !slices.Equal(now.calls, before) {
			return errors.New("an exchange under way")
		}
		now.since, err = s.whenSeen(now.secret)
		return err
	})
	return now, err
}

// checkTold compares a status with the sources.
func (s *story) checkTold(all []v1alpha1.CredentialStatus, check func(int, v1alpha1.CredentialStatus) error) error {
	if len(all) != len(s.federated) {
		return fmt.Errorf("a status of %d credentials instead of %d", len(all), len(s.federated))
	}
	for i, told := range all {
		source := s.federated[i]
		name := fmt.Sprintf("credentials[%d].%s", i, source.Entry.Kind())
		switch {
		case told.Ready != metav1.ConditionTrue:
			return fmt.Errorf("%s %s: %s", told.Name, told.Reason, told.Message)
		case told.ExpiresAt == nil || told.RenewAt == nil || !told.RenewAt.Before(told.ExpiresAt):
			return fmt.Errorf("%s without its times", told.Name)
		case told.Name != name || told.Provider != source.Entry.Kind() || !slices.Contains(told.Registries, source.Registry):
			return fmt.Errorf("%s from %s for %v instead of %s for %s", told.Name, told.Provider, told.Registries, name, source.Registry)
		}
	}
	for i, told := range all {
		if err := check(i, told); err != nil {
			return err
		}
	}
	return nil
}

// whenSeen returns the witness's moment after it saw a Secret as it is.
func (s *story) whenSeen(secret *corev1.Secret) (int, error) {
	for i, seen := range s.witness.seen(0) {
		if seen.secret.UID == secret.UID && seen.secret.ResourceVersion == secret.ResourceVersion {
			return i + 1, nil
		}
	}
	return 0, errors.New("a Secret that the watch has not shown yet")
}

// calls reads how often each service was asked so far.
func (s *story) calls() []asked {
	counts := askedOnce()
	for i := range counts {
		counts[i].calls = s.cloud.Calls(counts[i].service)
	}
	return counts
}

// renewFederated waits until every login is another one, and checks that
// nobody could notice.
func (s *story) renewFederated(ctx context.Context, old federatedLogins) error {
	renewed, pulls, err := s.pullMeanwhile(ctx, old)
	if err != nil {
		return err
	}
	if err := s.pullAll(ctx, old.logins, "with the old logins"); err != nil {
		return err
	}
	current, err := s.currentLogins(ctx, "the status of the new logins", func(i int, told v1alpha1.CredentialStatus) error {
		if !old.told[i].ExpiresAt.Before(told.ExpiresAt) {
			return fmt.Errorf("the old login's expiry of %s", told.Name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if current.secret.UID != old.secret.UID {
		return unmet{expected: "the Secret to be changed in place", seen: "another Secret (its UID differs)"}
	}
	first, last := slices.MinFunc(renewed, time.Time.Compare), slices.MaxFunc(renewed, time.Time.Compare)
	s.saw(last.Sub(first), "all %d logins were renewed, in place; from the first to the last", len(renewed))
	s.show(renewalTable(old.told, renewed, current.told))
	s.noted("%d pulls meanwhile, from all registries with the Secret as it stood: none was refused", pulls)
	s.noted("the old logins still opened every registry when all the new ones stood")
	if err := s.checkExchanges(old.calls, current.calls); err != nil {
		return err
	}
	return s.outliveFederated(ctx, old, current)
}

const betweenPulls = 250 * time.Millisecond

// pullMeanwhile pulls from every registry with the Secret as it stands, again
// and again until every login is another one. It returns when each was seen to
// be, in the sources' order, and the number of pulls.
func (s *story) pullMeanwhile(ctx context.Context, old federatedLogins) (renewed []time.Time, pulls int, err error) {
	expected := fmt.Sprintf("new logins for all %d registries", len(s.federated))
	deadline := old.lastExpiry().Add(patience)
	err = s.during("waiting for "+expected, func(note func(string)) error {
		pause := time.NewTicker(betweenPulls)
		defer pause.Stop()
		for {
			secret, err := s.secretNamed(ctx, federatedNamespace, federatedName)
			if err != nil {
				return err
			}
			if err := s.pullAll(ctx, loginsOf(secret), "while logins are renewed"); err != nil {
				return err
			}
			pulls += len(s.federated)
			var missing int
			renewed, missing = s.renewals(old)
			note(fmt.Sprintf("waiting for %s: %d of %d", expected, len(renewed)-missing, len(renewed)))
			switch {
			case missing == 0:
				return checkRenewals(old, renewed)
			case time.Now().After(deadline):
				return unmet{expected: expected + " by " + clock(deadline), seen: fmt.Sprint(len(renewed) - missing)}
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-pause.C:
			}
		}
	})
	return renewed, pulls, err
}

// renewals returns when each login was first seen to be another one, and how
// many have not been yet.
func (s *story) renewals(old federatedLogins) (renewed []time.Time, missing int) {
	renewed = make([]time.Time, len(s.federated))
	missing = len(renewed)
	for _, seen := range s.witness.seen(old.since) {
		if !isFederated(seen) {
			continue
		}
		logins := loginsOf(seen.secret)
		for i, source := range s.federated {
			if renewed[i].IsZero() && logins[source.Registry].Password != old.logins[source.Registry].Password {
				renewed[i] = seen.at
				missing--
			}
		}
	}
	return renewed, missing
}

// checkRenewals checks that each login was renewed before its end.
func checkRenewals(old federatedLogins, renewed []time.Time) error {
	for i, at := range renewed {
		if told := old.told[i]; !at.Before(told.ExpiresAt.Time) {
			return unmet{expected: fmt.Sprintf("%s renewed before %s", told.Name, clock(told.ExpiresAt.Time)), seen: "it at " + clock(at)}
		}
	}
	return nil
}

// pullAll pulls once from every registry.
func (s *story) pullAll(ctx context.Context, logins keychain, when string) error {
	for _, source := range s.federated {
		if _, err := s.pull(ctx, imageOf(source), logins); err != nil {
			return fmt.Errorf("%s, at %s: %w", when, clock(time.Now()), err)
		}
	}
	return nil
}

// checkExchanges checks that the renewal cost no more than it must.
func (s *story) checkExchanges(before, after []asked) error {
	var calls int
	var list []string
	for i, once := range askedOnce() {
		if made := after[i].calls - before[i].calls; made != once.calls {
			return unmet{expected: fmt.Sprintf("%s to be asked %d times for the renewal", once.service, once.calls), seen: fmt.Sprint(made)}
		}
		calls += once.calls
		list = append(list, fmt.Sprintf("%s %d", once.service, once.calls))
	}
	s.noted("the clouds were asked %d times, which is one exchange for each login", calls)
	half := len(list) / 2
	s.say("  " + strings.Join(list[:half], ", ") + ",")
	s.say("  " + strings.Join(list[half:], ", "))
	return nil
}

// outliveFederated shows that the renewals were needed: when the old logins
// have expired, none opens anything, and the new ones do.
func (s *story) outliveFederated(ctx context.Context, old, current federatedLogins) error {
	left := slices.Clone(s.federated)
	last := old.lastExpiry()
	expected := fmt.Sprintf("the old logins' expiry (%s)", clock(last))
	err := s.eventually(ctx, expected, time.Until(last)+patience, func(ctx context.Context) error {
		for len(left) > 0 {
			if err := s.checkRefusal(ctx, imageOf(left[0]), old.logins, "with the old login"); err != nil {
				return err
			}
			left = left[1:]
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.pullAll(ctx, current.logins, "with the new logins"); err != nil {
		return err
	}
	s.noted("then the old logins expired: each registry says 401 to them, and takes the new ones")
	return nil
}

// credentialTable lays out what an object tells of its credentials.
func credentialTable(all []v1alpha1.CredentialStatus) string {
	lines := [][]string{{"ENTRY", "PROVIDER", "REGISTRIES", "EXPIRES", "RENEW AT"}}
	for i, told := range all {
		lines = append(lines, []string{entry(i), told.Provider, strings.Join(told.Registries, ", "), clock(told.ExpiresAt.Time), clock(told.RenewAt.Time)})
	}
	return aligned(2, lines)
}

// renewalTable lays out what became of credentials, told being what their
// object said of them before and after.
func renewalTable(before []v1alpha1.CredentialStatus, renewed []time.Time, after []v1alpha1.CredentialStatus) string {
	lines := [][]string{{"ENTRY", "PROVIDER", "RENEWED", "TO SPARE", "EXPIRES NOW", "RENEW AT"}}
	for i, told := range after {
		lines = append(lines, []string{
			entry(i), told.Provider, clock(renewed[i]), inWords(before[i].ExpiresAt.Sub(renewed[i])),
			told.ExpiresAt.UTC().Format(time.RFC3339), told.RenewAt.UTC().Format(time.RFC3339),
		})
	}
	return aligned(2, lines)
}

// entry names an entry of spec.registry.credentials in a table.
func entry(index int) string { return fmt.Sprintf("[%d]", index) }
