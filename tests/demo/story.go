package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
)

// step is one chapter of the story. An error means that it did not happen.
type step struct {
	headline string
	tell     func(*story, context.Context) error
	// destructive steps are left out when there is to be something to look at.
	destructive bool
}

// steps are the story, in order.
func steps() []step {
	return []step{
		{headline: "A Kubernetes cluster, an AWS account and two private registries", tell: (*story).bringUp},
		{headline: "The operator, with the rights of config/rbac and no others", tell: (*story).startOperator},
		{headline: "A person says which logins are to stand where", tell: (*story).applySources},
		{headline: "Namespaces appear and get the Secret", tell: (*story).addNamespaces},
		{headline: "A Pod appears in another namespace, and goes again", tell: (*story).addPod},
		{headline: "The Secret opens the private registries, and nothing else does", tell: (*story).pullImages},
		{headline: "The ECR token is renewed before it expires", tell: (*story).renewToken},
		{headline: "Somebody tampers with the Secrets", tell: (*story).tamper},
		{headline: "One ServiceAccount, every kind of registry, and no password to keep", tell: (*story).federate},
		{headline: "The ImagePullSecret is deleted", tell: (*story).deleteObject, destructive: true},
		{headline: "What it cost, and what was kept quiet", tell: (*story).count},
	}
}

// story is what the steps share.
type story struct {
	*printer
	*environment
	keep  bool
	begin time.Time
	rows  []row
	step  int // the number of the one being told

	key       fakecloud.AccessKey
	objectUID types.UID
	foreign   types.UID // a Secret that is none of the operator's business
	holders   []string  // namespaces that are to hold the Secret
	passwords []string  // which may stand nowhere but in Secrets

	asOperator client.Client       // with the operator's own credential
	federated  []federation.Source // of the object that needs no password
}

// play tells every step up to the first that does not happen.
func (s *story) play(ctx context.Context) error {
	if s.keep {
		s.say("With -keep the step that deletes is left out and everything stays up at the end.")
	}
	for i, chapter := range steps() {
		s.step = i + 1
		s.headline(s.step, chapter.headline)
		if s.keep && chapter.destructive {
			s.say("Left out (-keep), so that there is something to look at.")
			continue
		}
		if err := chapter.tell(s, ctx); err != nil {
			return err
		}
	}
	s.summary()
	return nil
}

// saw prints that something happened, with what it took, and keeps it for the
// summary.
func (s *story) saw(took time.Duration, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	s.tick(what, took)
	s.rows = append(s.rows, row{step: s.step, seen: what, took: took})
}

// noted is saw for what has no latency.
func (s *story) noted(format string, args ...any) { s.saw(timeless, format, args...) }

func (s *story) summary() {
	s.headline(0, "Summary")
	s.table(s.rows)
	s.say(fmt.Sprintf("All of it happened, in %s.", inWords(time.Since(s.begin))))
}

// hold says how to look around and waits to be interrupted.
func (s *story) hold(ctx context.Context) {
	s.headline(0, "Everything stays up")
	s.show("export KUBECONFIG=" + s.cluster.Kubeconfig() + "\nkubectl get imps -o wide\n" +
		"kubectl get imps " + federatedName + " -o yaml\nkubectl get secrets -A -l images.banzaicloud.io/owner-uid")
	s.say("Ctrl-C stops and removes all of it.")
	<-ctx.Done()
}

// unmet is something that was waited for and did not come.
type unmet struct{ expected, seen string }

// Error says both.
func (u unmet) Error() string { return "expected " + u.expected + ", saw " + u.seen }

const (
	lastLogLines = 15
	probeTimeout = 2 * time.Second
)

// reportFailure says what was expected, what was seen and what the operator
// logged last.
func (s *story) reportFailure(err error) {
	s.failed(fmt.Sprintf("step %d did not happen", s.step), err)
	if s.operator == nil {
		return
	}
	ctx, cancel := context.WithTimeout(s.lifetime, probeTimeout)
	defer cancel()
	if _, _, err := s.operator.Probe(ctx, "/healthz"); err != nil {
		s.say("The operator does not answer any more: " + err.Error())
	}
	lines := strings.Split(strings.TrimSpace(s.operator.Log()), "\n")
	s.say("The operator's last log lines:")
	s.show(strings.Join(lines[max(0, len(lines)-lastLogLines):], "\n"))
}

const pollInterval = 20 * time.Millisecond

// eventually polls until check returns nil, and shows that it does. After
// patience has run out it says what was expected and what check said last.
func (s *story) eventually(ctx context.Context, expected string, patience time.Duration, check func(context.Context) error) error {
	return s.during("waiting for "+expected, func(func(string)) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		poll := time.NewTicker(pollInterval)
		defer poll.Stop()
		last := errors.New("nothing yet")
		for {
			err := check(ctx)
			if err == nil {
				return nil
			}
			if ctx.Err() == nil {
				last = err // and not that time has run out
			}
			select {
			case <-ctx.Done():
				return unmet{expected: fmt.Sprintf("%s within %s", expected, inWords(patience)), seen: last.Error()}
			case <-poll.C:
			}
		}
	})
}
