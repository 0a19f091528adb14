package order

import (
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// An order is looked at again when the first thing is due that lies ahead, and
// always at some time: a wait of nothing would be none at all.
func TestAnOrderIsLookedAtAgain(t *testing.T) {
	const resync = 10 * time.Hour
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	at := func(offset time.Duration) credential { return credential{NextExchange: now.Add(offset)} }
	for sentence, c := range map[string]struct {
		is   assessment
		wait time.Duration
	}{
		"after the longest wait, if it has no credentials":                {assessment{}, resync},
		"after the longest wait, if its logins do not expire":             {assessment{Credentials: []credential{{}}}, resync},
		"after the longest wait, if what comes first comes after it":      {assessment{Credentials: []credential{at(resync + time.Hour)}}, resync},
		"when the next exchange is due":                                   {assessment{Credentials: []credential{at(time.Hour)}}, time.Hour},
		"just after now, if an exchange is due then":                      {assessment{Credentials: []credential{at(1)}}, 1},
		"when the first of several exchanges is due":                      {assessment{Credentials: []credential{at(3 * time.Hour), at(2 * time.Hour)}}, 2 * time.Hour},
		"after the longest wait, if an exchange was due now":              {assessment{Credentials: []credential{at(0)}}, resync},
		"after the longest wait, if an exchange was due before":           {assessment{Credentials: []credential{at(-time.Hour)}}, resync},
		"when another exchange is due, if one was due before":             {assessment{Credentials: []credential{at(-time.Hour), at(time.Hour)}}, time.Hour},
		"when a login expires before the next exchange":                   {assessment{Credentials: []credential{{NextExchange: now.Add(2 * time.Hour), ExpiresAt: now.Add(time.Hour)}}}, time.Hour},
		"after the longest wait, if a login has expired":                  {assessment{Credentials: []credential{{ExpiresAt: now}}}, resync},
		"soon, while an exchange is under way":                            {assessment{Credentials: []credential{{Exchanging: true}}}, exchangeCheck},
		"soon, while one is under way for a login that has expired":       {assessment{Credentials: []credential{{Exchanging: true, ExpiresAt: now.Add(-time.Hour)}}}, exchangeCheck},
		"when another is due, if that is before one under way is seen to": {assessment{Credentials: []credential{{Exchanging: true}, at(time.Second)}}, time.Second},
		"when it is too late to wait for a source":                        {assessment{Merged: merged{Until: now.Add(time.Minute)}}, time.Minute},
		"after the longest wait, if it was too late before":               {assessment{Merged: merged{Until: now.Add(-time.Minute)}}, resync},
		"in a while, if Pods can't be watched":                            {assessment{PodProblem: "x"}, watchRetry},
		"in a while, if ServiceAccounts can't be watched":                 {assessment{AccountProblem: problem{Reason: v1alpha1.ReasonAttachForbidden}}, watchRetry},
		"when an exchange is due before Pods are tried again":             {assessment{PodProblem: "x", Credentials: []credential{at(time.Second)}}, time.Second},
	} {
		t.Run(sentence, func(t *testing.T) {
			c.is.Now = now
			controller := New(Deps{Config: Config{ResyncInterval: resync}})
			if got := controller.next(c.is); got != c.wait {
				t.Errorf("it waits %s, want %s", got, c.wait)
			}
		})
	}
}
