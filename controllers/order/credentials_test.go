package order

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/credentials"
	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/providers"
)

var (
	now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	ref = types.NamespacedName{Namespace: "registry-access", Name: "hub"}
	hub = source{ID: ref.String(), Name: ref.String(), Secret: &ref, Entry: v1alpha1.CredentialSource{Namespace: ref.Namespace, Name: ref.Name}}
)

// called returns a source of a name.
func called(name string) source {
	s := hub
	s.ID, s.Name = name, name
	return s
}

// oneRegistry is a provider of a login for the registry r.
type oneRegistry struct{ providers.Provider }

func (oneRegistry) Registries() []string { return []string{"r"} }

func logins(registries ...string) dockerconfig.Logins {
	made := dockerconfig.Logins{}
	for _, registry := range registries {
		made[registry] = dockerconfig.Login{Username: "u", Password: "p"}
	}
	return made
}

func lease(expiresIn time.Duration, err error) credentials.Lease {
	return credentials.Lease{
		Credential: &providers.Credential{Login: dockerconfig.Login{Username: "u", Password: "p"}, ExpiresAt: now.Add(expiresIn)},
		IssuedAt:   now.Add(-time.Hour), Err: err, NextExchange: now.Add(time.Minute),
	}
}

func TestUnread(t *testing.T) {
	federated := sourcesOf(orderWith(v1alpha1.CredentialSource{Quay: &v1alpha1.QuaySource{}}))[0]
	gone := apierrors.NewNotFound(corev1.Resource("secrets"), ref.Name)
	forbidden := apierrors.NewForbidden(corev1.Resource("secrets"), ref.Name, errors.New("no"))
	cases := map[string]struct {
		source        source
		kind          string
		err           error
		reason, words string
		waiting       bool
	}{
		"one that is not known yet is waited for":      {hub, "Secret", kube.ErrNotWatchedYet, v1alpha1.ReasonProgressing, "", true},
		"a missing one says what to create or correct": {hub, "Secret", gone, v1alpha1.ReasonSourceNotFound, "Secret registry-access/hub does not exist: create it", false},
		"a forbidden one names the rule":               {hub, "Secret", forbidden, v1alpha1.ReasonSourceForbidden, "resourceNames: [hub], verbs: [get, list, watch]", false},
		"anything else is told as it is":               {hub, "Secret", errors.New("boom"), v1alpha1.ReasonUnavailable, "boom", false},
		"a missing ServiceAccount says where it stands": {
			federated, "ServiceAccount", gone, v1alpha1.ReasonSourceNotFound,
			"ServiceAccount registry-access/hub does not exist: create it, or correct the name and namespace in spec.registry.credentials[0].quay", false,
		},
		"a forbidden ServiceAccount names both rules": {
			federated, "ServiceAccount", forbidden, v1alpha1.ReasonSourceForbidden,
			"resources: [serviceaccounts/token], resourceNames: [hub], verbs: [create]", false,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := unread(c.source, c.kind, ref, c.err)
			if got.Reason != c.reason || got.Waiting != c.waiting || got.Failed == c.waiting || !strings.Contains(got.Message, c.words) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestLeased(t *testing.T) {
	meant := providers.Source{Name: "ecr", Provider: oneRegistry{}}
	denied := providers.Errorf(providers.Denied, "not authorised")
	skewed := lease(time.Hour, nil)
	skewed.Credential.Skew = "this machine's clock is 5m0s behind AWS's"
	cases := map[string]struct {
		lease  credentials.Lease
		reason string
		failed bool
		logins int
	}{
		"clocks that differ are told of beside a valid lease":      {skewed, v1alpha1.ReasonClockSkew, false, 1},
		"a valid lease is fine":                                    {lease(time.Hour, nil), "", false, 1},
		"one that can't be renewed is told of but has not failed":  {lease(time.Hour, denied), v1alpha1.ReasonDenied, false, 1},
		"one past its expiry has failed and its logins stay":       {lease(-time.Second, denied), v1alpha1.ReasonExpired, true, 1},
		"one past its expiry while a renewal is under way, too":    {lease(-time.Second, nil), v1alpha1.ReasonExpired, true, 1},
		"one that could not be obtained has failed":                {credentials.Lease{Err: denied}, v1alpha1.ReasonDenied, true, 0},
		"one that is being obtained is waited for, without a fuss": {credentials.Lease{AskedAt: now}, v1alpha1.ReasonProgressing, false, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := leased(hub, meant, c.lease, now)
			if got.Reason != c.reason || got.Failed != c.failed || len(got.Logins) != c.logins {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestReasonsFollowClasses(t *testing.T) {
	want := map[providers.Class]string{
		providers.Invalid: v1alpha1.ReasonSourceInvalid, providers.Denied: v1alpha1.ReasonDenied,
		providers.Throttled: v1alpha1.ReasonThrottled, providers.ClockSkew: v1alpha1.ReasonClockSkew,
		providers.Transient: v1alpha1.ReasonUnavailable, providers.Forbidden: v1alpha1.ReasonSourceForbidden,
	}
	for class, reason := range want {
		if got := reasonOf(providers.Errorf(class, "x")); got != reason {
			t.Errorf("class %s gives %s, want %s", class, got, reason)
		}
	}
	if got := reasonOf(context.DeadlineExceeded); got != v1alpha1.ReasonUnavailable {
		t.Errorf("an error without a class gives %s", got)
	}
}

func TestKeepLast(t *testing.T) {
	good := credential{Source: hub, Logins: logins("r")}
	short := credential{Source: hub, Logins: logins("r"), ExpiresAt: now.Add(time.Second)}
	over := credential{Source: hub, Logins: logins("r"), ExpiresAt: now}
	failed := credential{Source: hub, Failed: true, Message: "m"}
	cases := map[string]struct {
		now, last credential
		logins    int
	}{
		"a source that fails keeps its logins":         {failed, good, 1},
		"while they are valid":                         {failed, short, 1},
		"and not longer":                               {failed, over, 0},
		"one that never gave any has none":             {failed, credential{}, 0},
		"one that is being read again keeps them":      {credential{Waiting: true}, good, 1},
		"one that now gives none on purpose has none":  {credential{}, good, 0},
		"one that gives others has those":              {credential{Logins: logins("a", "b")}, good, 2},
		"one that left out a login keeps that one":     {credential{Logins: logins("a"), Failed: true, LeftOut: []string{"r", "never"}}, good, 2},
		"one that gives fewer, with a failure, has so": {credential{Logins: logins("a"), Failed: true}, good, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := keepLast(c.now, c.last, now)
			if len(got.Logins) != c.logins || got.Failed != c.now.Failed {
				t.Errorf("got %+v", got)
			}
			if got.Waiting && len(got.Logins) > 0 {
				t.Error("nothing is waited for where there are logins")
			}
		})
	}
}

// A source that has moved on to other registries does not keep the old ones.
func TestKeepLastKeepsWhatTheSourceStillNames(t *testing.T) {
	last := credential{Source: hub, Logins: logins("old.example.com", "kept.example.com"), RenewAt: now}
	failing := credential{Source: hub, Failed: true, Registries: []string{"kept.example.com", "new.example.com"}}
	got := keepLast(failing, last, now)
	if _, kept := got.Logins["kept.example.com"]; !kept || len(got.Logins) != 1 {
		t.Errorf("kept are %v", got.Logins)
	}
	failing.Registries = []string{"new.example.com"}
	if got := keepLast(failing, last, now); len(got.Logins) != 0 {
		t.Errorf("kept are %v", got.Logins)
	}
}

func TestToldOf(t *testing.T) {
	federated := sourcesOf(orderWith(v1alpha1.CredentialSource{Quay: &v1alpha1.QuaySource{}}))[0]
	at := func(expiresIn time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(expiresIn)} }
	cases := map[string]struct {
		source   source
		told     v1alpha1.CredentialStatus
		observed int64
		want     bool
	}{
		"a Secret's logins that don't expire":             {hub, v1alpha1.CredentialStatus{Name: hub.Name}, 1, true},
		"a Secret's logins that are valid":                {hub, v1alpha1.CredentialStatus{Name: hub.Name, ExpiresAt: at(time.Second)}, 2, true},
		"but not those that have expired":                 {hub, v1alpha1.CredentialStatus{Name: hub.Name, ExpiresAt: at(0)}, 2, false},
		"nor another Secret's":                            {hub, v1alpha1.CredentialStatus{Name: "ns/other"}, 2, false},
		"a provider's logins that are valid":              {federated, v1alpha1.CredentialStatus{Name: federated.Name, ExpiresAt: at(time.Second)}, 2, true},
		"but not what stood in its place in another spec": {federated, v1alpha1.CredentialStatus{Name: federated.Name, ExpiresAt: at(time.Second)}, 1, false},
		"nor what it has yet to give":                     {federated, v1alpha1.CredentialStatus{Name: federated.Name}, 2, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.told.Registries = []string{"r"}
			object := &v1alpha1.ImagePullSecret{ObjectMeta: metav1.ObjectMeta{Generation: 2}}
			object.Status.ObservedGeneration, object.Status.Credentials = c.observed, []v1alpha1.CredentialStatus{c.told}
			if _, got := toldOf(object, c.source, now); got != c.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

// While the key is not there by which logins are read back, the status goes on
// telling what is to be read.
func TestWhatIsToBeReadBackStaysTold(t *testing.T) {
	told := v1alpha1.CredentialStatus{Name: hub.Name, Registries: []string{"r"}, ExpiresAt: timeOrNil(now.Add(time.Hour)), RenewAt: timeOrNil(now.Add(time.Minute))}
	object := &v1alpha1.ImagePullSecret{}
	object.Status.Credentials = []v1alpha1.CredentialStatus{told}
	failing := credential{Source: hub, Failed: true, Reason: v1alpha1.ReasonSourceNotFound}.stillTold(object, now)
	status := assessment{Credentials: []credential{failing}}.credentials()[0]
	if status.Reason != v1alpha1.ReasonSourceNotFound || status.Ready != metav1.ConditionFalse {
		t.Errorf("the failure is not told: %+v", status)
	}
	object.Status.Credentials = []v1alpha1.CredentialStatus{status}
	if again, ok := toldOf(object, hub, now); !ok || !again.ExpiresAt.Equal(told.ExpiresAt) || !again.RenewAt.Equal(told.RenewAt) || again.Registries[0] != "r" {
		t.Errorf("afterwards the status tells %+v", status)
	}
	if other := (credential{Source: called("ns/other"), Failed: true}).stillTold(object, now); other.Told != nil {
		t.Errorf("another source is told to have given %v", other.Told)
	}
}

// A dead login must not stand in the way of one that works.
func TestAnExpiredLoginGivesWay(t *testing.T) {
	all := []credential{
		{Source: called("dead"), Logins: dockerconfig.Logins{"r.io": {Username: "dead", Password: "p"}, "s.io": {Username: "dead", Password: "p"}}, ExpiresAt: now},
		{Source: called("alive"), Logins: dockerconfig.Logins{"r.io": {Username: "alive", Password: "p"}}, ExpiresAt: now.Add(time.Second)},
	}
	document := string(merge(all, now).Document)
	if !strings.Contains(document, `"username":"alive"`) || strings.Count(document, `"username":"dead"`) != 1 {
		t.Errorf("document is %s", document)
	}
}

func TestMerge(t *testing.T) {
	unknown := credential{Source: called("unknown"), Waiting: true}
	asked := func(ago time.Duration) credential {
		return credential{Source: called("asked"), Waiting: true, WaitingSince: now.Add(-ago)}
	}
	ready := credential{Source: called("ready"), Logins: logins("r")}
	huge := credential{Source: hub, Logins: dockerconfig.Logins{"r": {Username: "u", Password: strings.Repeat("p", corev1.MaxSecretSize/2)}}}
	cases := map[string]struct {
		all                     []credential
		document, wait, tooMuch bool
		until                   time.Time
	}{
		"all that is there is merged":                        {[]credential{ready}, true, false, false, time.Time{}},
		"an unknown source is waited for without an end":     {[]credential{ready, unknown}, true, true, false, time.Time{}},
		"an exchange is waited for a little":                 {[]credential{ready, asked(0)}, true, true, false, now.Add(waitForExchange)},
		"and then the others go ahead":                       {[]credential{ready, asked(waitForExchange)}, true, false, false, time.Time{}},
		"without logins there is nothing to write":           {[]credential{{Failed: true}}, false, false, false, time.Time{}},
		"more than a Secret holds is refused":                {[]credential{huge}, true, false, true, time.Time{}},
		"without any source there is nothing and no waiting": {nil, false, false, false, time.Time{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := merge(c.all, now)
			if (got.Document != nil) != c.document || got.Wait != c.wait || (got.TooLarge != "") != c.tooMuch || !got.Until.Equal(c.until) {
				t.Errorf("got document %t, wait %t until %s, too large %q", got.Document != nil, got.Wait, got.Until, got.TooLarge)
			}
		})
	}
}

func TestTheFirstSourceWinsAndTheLoserIsTold(t *testing.T) {
	all := []credential{
		{Source: called("first"), Logins: dockerconfig.Logins{"r.io": {Username: "first", Password: "p"}}},
		{Source: called("second"), Logins: dockerconfig.Logins{"https://r.io": {Username: "second", Password: "p"}, "s.io": {Username: "second", Password: "p"}}},
	}
	got := merge(all, now)
	if text := string(got.Document); !strings.Contains(text, `"username":"first"`) || strings.Contains(text, "https://r.io") {
		t.Errorf("document is %s", text)
	}
	if all[1].Reason != v1alpha1.ReasonShadowed || !strings.Contains(all[1].Message, "https://r.io by first") || all[1].Failed {
		t.Errorf("the loser is told %+v", all[1])
	}
	if all[0].Reason != "" {
		t.Errorf("the winner is told %+v", all[0])
	}
}
