package order

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/credentials"
	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/internal/rights"
	"github.com/imagepullsecrets/operator/providers"
)

// credential is what is known of one entry of spec.registry.credentials.
type credential struct {
	Source   source
	Provider string
	// Registries are those that a provider's login is for, known before it.
	Registries []string
	// Told are the registries that the status tells of and whose logins are still
	// to be read back, after a restart.
	Told []string
	// Logins are usable; nil if there are none.
	Logins dockerconfig.Logins
	// LeftOut are the keys of logins that are there and not usable.
	LeftOut []string
	// ExpiresAt, IssuedAt and RenewAt are zero for logins that don't expire.
	ExpiresAt, IssuedAt, RenewAt time.Time
	// NextExchange is when to ask for the lease again; zero if there is none,
	// or while an exchange is under way, which Exchanging tells.
	NextExchange time.Time
	Exchanging   bool
	// Waiting: there is nothing yet and no failure either. WaitingSince is
	// when an exchange was asked for; zero while the source is not known, and
	// then nothing can be decided.
	Waiting      bool
	WaitingSince time.Time
	// Reason and Message say what is wrong, or worth knowing.
	Reason, Message string
	// Failed: Reason is a failure, not a remark.
	Failed bool
}

func (c credential) name() string { return c.Source.Name }

// explanation is Message, with the name of the source if that is not in it.
func (c credential) explanation() string {
	if strings.Contains(c.Message, c.name()) {
		return c.Message
	}
	return c.name() + ": " + c.Message
}

// missed tells that there are no logins where there may have been some: the
// source fails, or is being asked for the first time in this process's life.
func (c credential) missed() bool {
	return len(c.Logins) == 0 && (c.Failed || c.Waiting && !c.WaitingSince.IsZero())
}

// expired tells whether the logins in use are past their expiry.
func (c credential) expired(now time.Time) bool {
	return !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt)
}

// leaseProblem says why leases could not be loaded; "" if they could.
func leaseProblem(err error) string {
	switch {
	case err == nil:
		return ""
	case rights.Missing(err):
		return fmt.Sprintf("the operator may not use its own leases: %v: add to a Role of its ServiceAccount in its namespace the rule %s", err, rights.ForLeases)
	default:
		return fmt.Sprintf("the operator can't load its own leases: %v; it is tried again", err)
	}
}

// unread is a credential whose source needs an object that could not be read.
// kind is the object's: Secret or ServiceAccount.
func unread(s source, kind string, ref types.NamespacedName, err error) credential {
	c := credential{Source: s, Provider: s.provider(), Failed: true}
	rule, where := rights.ForSource(ref.Name), s.path()
	if kind == "ServiceAccount" {
		rule = rights.ForServiceAccount(ref.Name) + " and " + rights.ForToken(ref.Name) + " (chart: identities)"
	}
	if s.isSecret() {
		where = "spec.registry.credentials"
	}
	switch {
	case errors.Is(err, kube.ErrNotWatchedYet):
		return credential{Source: s, Provider: s.provider(), Waiting: true, Reason: v1alpha1.ReasonProgressing}
	case apierrors.IsNotFound(err):
		c.Reason = v1alpha1.ReasonSourceNotFound
		c.Message = fmt.Sprintf("%s %s does not exist: create it, or correct the name and namespace in %s", kind, ref, where)
	case apierrors.IsForbidden(err):
		c.Reason = v1alpha1.ReasonSourceForbidden
		c.Message = fmt.Sprintf("the operator may not read %s %s: add to a Role of its ServiceAccount in namespace %s the rule %s",
			kind, ref, ref.Namespace, rule)
	default:
		c.Reason, c.Message = v1alpha1.ReasonUnavailable, fmt.Sprintf("reading %s %s: %v", kind, ref, err)
	}
	return c
}

// invalid is a credential whose source makes no sense.
func invalid(s source, err error) credential {
	return credential{
		Source: s, Provider: s.provider(), Failed: true, Reason: v1alpha1.ReasonSourceInvalid,
		Message: fmt.Sprintf("%s: %v", s.called(), err),
	}
}

// invalidOrder is the credential of an order that makes no sense.
func invalidOrder(order *Order) credential {
	return credential{
		Source: source{Name: order.Place, ID: order.Place, Placed: true}, Failed: true,
		Reason: v1alpha1.ReasonSourceInvalid, Message: order.Place + ": " + order.Invalid,
	}
}

// static is a credential whose logins stand in its source Secret.
func static(s source, found providers.Source) credential {
	c := credential{Source: s, Provider: found.Name, Logins: found.Logins}
	switch {
	case len(found.Problems) > 0:
		texts := make([]string, len(found.Problems))
		for i, problem := range found.Problems {
			texts[i] = problem.String()
			c.LeftOut = append(c.LeftOut, problem.Key)
		}
		c.Failed, c.Reason = true, v1alpha1.ReasonEntryLeftOut
		c.Message = fmt.Sprintf("%s: left out %s", s.called(), listed(texts, "; "))
	case len(found.Logins) == 0:
		c.Failed, c.Reason = true, v1alpha1.ReasonSourceInvalid
		c.Message = fmt.Sprintf("%s holds no login: add one, or remove it from the sources", s.called())
	}
	return c
}

// maxListed is how many things of one kind a message names: a source Secret
// has room for thousands, and a status has not.
const maxListed = 5

// listed joins texts for a message, the first of them if there are many.
func listed(texts []string, separator string) string {
	if more := len(texts) - maxListed; more > 0 {
		return fmt.Sprintf("%s%sand %d more", strings.Join(texts[:maxListed], separator), separator, more)
	}
	return strings.Join(texts, separator)
}

// leased is a credential that a provider gives.
func leased(s source, found providers.Source, lease credentials.Lease, now time.Time) credential {
	c := credential{
		Source: s, Provider: found.Name, Registries: found.Provider.Registries(),
		RenewAt: lease.RenewAt, NextExchange: lease.NextExchange, Exchanging: lease.NextExchange.IsZero(),
	}
	if lease.Credential != nil {
		c.Logins = make(dockerconfig.Logins, len(c.Registries))
		for _, registry := range c.Registries {
			c.Logins[registry] = lease.Credential.Login
		}
		c.ExpiresAt, c.IssuedAt = lease.Credential.ExpiresAt, lease.IssuedAt
	} else {
		c.RenewAt = lease.NextExchange
	}
	switch {
	case lease.Pending():
		c.Waiting, c.WaitingSince, c.Reason = true, lease.AskedAt, v1alpha1.ReasonProgressing
	case lease.Err != nil:
		c.Reason = reasonOf(lease.Err)
		c.Message = lease.Err.Error()
		c.Failed = lease.Credential == nil
	case lease.Credential.Skew != "":
		// The login works; the next one may not.
		c.Reason, c.Message = v1alpha1.ReasonClockSkew, lease.Credential.Skew+": set it right"
	}
	if c.expired(now) {
		c.Failed, c.Reason = true, v1alpha1.ReasonExpired
		c.Message = fmt.Sprintf("the login expired at %s and could not be renewed: %s",
			c.ExpiresAt.UTC().Format(time.RFC3339), causeOf(lease.Err))
	}
	return c
}

func causeOf(err error) string {
	if err == nil {
		return "a renewal is under way"
	}
	return err.Error()
}

// reasonOf maps a provider's error to what people are told.
func reasonOf(err error) string {
	switch providers.ClassOf(err) {
	case providers.Invalid:
		return v1alpha1.ReasonSourceInvalid
	case providers.Denied:
		return v1alpha1.ReasonDenied
	case providers.Throttled:
		return v1alpha1.ReasonThrottled
	case providers.ClockSkew:
		return v1alpha1.ReasonClockSkew
	case providers.Forbidden:
		return v1alpha1.ReasonSourceForbidden
	case providers.Transient:
		return v1alpha1.ReasonUnavailable
	}
	return v1alpha1.ReasonUnavailable
}

// keepLast returns c with the logins that its source gave before, where it
// gives none or unusable ones now: a source that fails does not take its
// logins away.
func keepLast(c, last credential, now time.Time) credential {
	if len(last.Logins) == 0 || last.expired(now) || !(c.Failed || c.Waiting) {
		return c
	}
	for _, key := range c.LeftOut {
		if login, known := last.Logins[key]; known && len(c.Logins) > 0 {
			c.Logins = maps.Clone(c.Logins)
			c.Logins[key] = login
		}
	}
	if kept := c.stillNamed(last.Logins); len(c.Logins) == 0 && len(kept) > 0 {
		c.Logins, c.ExpiresAt, c.IssuedAt, c.RenewAt, c.Waiting = kept, last.ExpiresAt, last.IssuedAt, last.RenewAt, false
		if c.Failed {
			c.Message += "; its last known logins stay in use"
		}
	}
	return c
}

// stillNamed are those of a source's earlier logins that are for registries
// which it names now, as far as it tells.
func (c credential) stillNamed(earlier dockerconfig.Logins) dockerconfig.Logins {
	if len(c.Registries) == 0 {
		return earlier
	}
	kept := dockerconfig.Logins{}
	for _, registry := range c.Registries {
		if login, found := earlier[registry]; found {
			kept[registry] = login
		}
	}
	return kept
}

// toldOf returns what an object's status tells of a source that gave valid
// logins, if it does. A source that is named by its place in the spec is taken
// for the one that was there only if the spec is still the same.
func toldOf(object *v1alpha1.ImagePullSecret, s source, now time.Time) (v1alpha1.CredentialStatus, bool) {
	for _, told := range object.Status.Credentials {
		same := s.isSecret() || object.Status.ObservedGeneration == object.Generation && told.ExpiresAt != nil
		valid := told.ExpiresAt == nil || now.Before(told.ExpiresAt.Time)
		if told.Name == s.Name && same && valid && len(told.Registries) > 0 {
			return told, true
		}
	}
	return v1alpha1.CredentialStatus{}, false
}

// stillTold returns c with what the status tells that its source gave, while
// that can't be read back: it would be forgotten with the status.
func (c credential) stillTold(object *v1alpha1.ImagePullSecret, now time.Time) credential {
	if told, ok := toldOf(object, c.Source, now); ok {
		c.Told = told.Registries
		if told.ExpiresAt != nil {
			c.ExpiresAt = told.ExpiresAt.Time
		}
		if told.RenewAt != nil {
			c.RenewAt = told.RenewAt.Time
		}
	}
	return c
}

// recalled is what a source gave, by what its status told and by the logins
// that were written.
func recalled(s source, told v1alpha1.CredentialStatus, written dockerconfig.Logins) credential {
	c := credential{Source: s, Logins: dockerconfig.Logins{}}
	for _, registry := range told.Registries {
		if login, found := written[registry]; found {
			c.Logins[registry] = login
		}
	}
	if told.ExpiresAt != nil {
		c.ExpiresAt = told.ExpiresAt.Time
	}
	if told.RenewAt != nil {
		c.RenewAt = told.RenewAt.Time
	}
	return c
}

// merged is what all credentials of an object amount to.
type merged struct {
	// Document is the dockerconfigjson; nil if there are no logins.
	Document []byte
	// Wait: a credential is still being obtained, and it may yet come in time.
	Wait bool
	// Until is when it is too late to wait; zero if only an event can tell.
	Until time.Time
	// TooLarge says that Document exceeds what a Secret holds, and what to do.
	TooLarge string
}

// waitForExchange is how long a Secret is held back for a credential that is
// being obtained for the first time; later the others go ahead without it.
const waitForExchange = 2 * time.Second

// merge merges credentials in their order, those that have expired behind all
// others. It notes in each of them what others shadow.
func merge(all []credential, now time.Time) merged {
	var m merged
	var sources, dead []dockerconfig.Source
	for _, c := range all {
		if from := (dockerconfig.Source{Name: c.name(), Logins: c.Logins}); c.expired(now) {
			dead = append(dead, from)
		} else {
			sources = append(sources, from)
		}
		switch deadline := c.WaitingSince.Add(waitForExchange); {
		case !c.Waiting:
		case c.WaitingSince.IsZero():
			m.Wait = true
		case now.Before(deadline):
			m.Wait, m.Until = true, deadline
		}
	}
	logins, shadowed := dockerconfig.Merge(append(sources, dead...))
	noteShadowed(all, shadowed)
	if len(logins) == 0 {
		return m
	}
	m.Document = dockerconfig.Marshal(logins)
	if size := len(m.Document); size > corev1.MaxSecretSize {
		m.TooLarge = fmt.Sprintf("the merged credentials take %d bytes and a Secret holds %d: "+
			"use fewer sources, or spread them over several ImagePullSecrets", size, corev1.MaxSecretSize)
	}
	return m
}

// noteShadowed tells the losers, unless they have worse to tell.
func noteShadowed(all []credential, shadowed []dockerconfig.Shadowed) {
	texts := map[string][]string{}
	for _, s := range shadowed {
		texts[s.Source] = append(texts[s.Source], fmt.Sprintf("%s by %s", s.Key, s.Winner))
	}
	for i, c := range all {
		if lost := texts[c.name()]; len(lost) > 0 && c.Reason == "" {
			all[i].Reason = v1alpha1.ReasonShadowed
			all[i].Message = "registries that come from a source further up: " + listed(lost, ", ")
		}
	}
}
