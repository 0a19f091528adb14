package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// ecrToken is what is known of the ECR token in use at one moment.
type ecrToken struct {
	password         string
	expires, renewal time.Time // as the object's status says, in whole seconds
	exchanges        int       // with AWS so far
	logins           keychain
	secrets          map[string]corev1.Secret // by namespace
}

// clock writes a time of day as the API server writes times, in UTC.
func clock(t time.Time) string { return t.UTC().Format("15:04:05Z") }

// renewToken is step 7.
func (s *story) renewToken(ctx context.Context) error {
	old, err := s.currentToken(ctx, time.Second)
	if err != nil {
		return err
	}
	since := s.witness.now()
	s.cloud.SetTokenLifetime(realTokenLifetime)
	s.say(fmt.Sprintf("Tokens issued from now on live %.0f h again, as AWS's do.", realTokenLifetime.Hours()))
	s.noted("the token in use expires at %s, its renewal is planned for %s",
		clock(old.expires), clock(old.renewal))

	renewed := func(seen sighting) bool {
		return complete(seen) && loginsOf(seen.secret)[ecrHost].Password != old.password
	}
	expected := fmt.Sprintf("a new token (planned for %s)", clock(old.renewal))
	found, err := s.awaitSecrets(ctx, since, s.holders, expected, time.Until(old.expires)+patience, renewed)
	if err != nil {
		return err
	}
	if err := s.checkRenewal(old, found); err != nil {
		return err
	}
	current, err := s.currentToken(ctx, 0)
	if err != nil {
		return err
	}
	if current.exchanges != old.exchanges+1 {
		return unmet{expected: fmt.Sprintf("1 exchange with AWS for the renewal in %s", namespaces(len(s.holders))),
			seen: fmt.Sprint(current.exchanges - old.exchanges)}
	}
	s.noted("AWS was asked once for all %s", namespaces(len(s.holders)))
	s.noted("the new token expires at %s", current.expires.UTC().Format(time.RFC3339))
	return s.outliveOldToken(ctx, old, current)
}

// currentToken reads the token in use when nothing is changing: the same in
// every namespace, with its renewal at least some time away.
func (s *story) currentToken(ctx context.Context, away time.Duration) (ecrToken, error) {
	var token ecrToken
	err := s.eventually(ctx, "the same ECR token in every namespace", patience, func(ctx context.Context) (err error) {
		before := s.cloud.Calls(fakecloud.ECR)
		if token, err = s.readToken(ctx); err != nil {
			return err
		}
		token.exchanges = s.cloud.Calls(fakecloud.ECR)
		if token.exchanges != before || time.Until(token.renewal) < away {
			return errors.New("a renewal under way")
		}
		return nil
	})
	return token, err
}

func (s *story) readToken(ctx context.Context) (ecrToken, error) {
	token := ecrToken{secrets: map[string]corev1.Secret{}}
	object, err := s.object(ctx)
	if err != nil {
		return token, err
	}
	for _, credential := range object.Status.Credentials {
		if credential.ExpiresAt != nil && credential.RenewAt != nil {
			token.expires, token.renewal = credential.ExpiresAt.Time, credential.RenewAt.Time
		}
	}
	if token.expires.IsZero() {
		return token, errors.New("no credential that expires in the object's status")
	}
	secrets, err := s.keptSecrets(ctx)
	if err != nil {
		return token, err
	}
	for _, secret := range secrets {
		logins := loginsOf(&secret)
		if token.password != "" && logins[ecrHost].Password != token.password {
			return token, errors.New("different tokens in different namespaces")
		}
		token.password, token.logins = logins[ecrHost].Password, logins
		token.secrets[secret.Namespace] = secret
	}
	if len(token.secrets) != len(s.holders) {
		return token, fmt.Errorf("the Secret in %s instead of %d", namespaces(len(token.secrets)), len(s.holders))
	}
	return token, nil
}

// keptSecrets lists the Secrets that the operator keeps for the object.
func (s *story) keptSecrets(ctx context.Context) ([]corev1.Secret, error) {
	var list corev1.SecretList
	if err := s.api.List(ctx, &list, client.MatchingLabels{v1alpha1.LabelOwnerUID: string(s.objectUID)}); err != nil {
		return nil, fmt.Errorf("list the Secrets that are kept: %w", err)
	}
	return list.Items, nil
}

// checkRenewal checks and tells how the Secrets came to the new token.
func (s *story) checkRenewal(old ecrToken, found map[string]sighting) error {
	var earliest, latest time.Time
	for namespace, seen := range found {
		before := old.secrets[namespace]
		switch {
		case seen.secret.UID != before.UID:
			return unmet{expected: "the Secret in " + namespace + " to be changed in place", seen: "another Secret (its UID differs)"}
		case seen.secret.ResourceVersion == before.ResourceVersion:
			return unmet{expected: "another resourceVersion in " + namespace, seen: before.ResourceVersion}
		case !seen.at.Before(old.expires):
			return unmet{expected: "the new token in " + namespace + " before the old one's expiry at " + clock(old.expires),
				seen: "it at " + clock(seen.at)}
		}
		if earliest.IsZero() || seen.at.Before(earliest) {
			earliest = seen.at
		}
		if seen.at.After(latest) {
			latest = seen.at
		}
	}
	s.saw(latest.Sub(earliest), "renewed at %s in all %s; from the first to the last", clock(earliest), namespaces(len(found)))
	s.saw(old.expires.Sub(latest), "that was before the old token's expiry, with this to spare:")
	example := s.holders[0]
	s.noted("in place: %s has resourceVersion %s → %s, the same UID %s…", example,
		old.secrets[example].ResourceVersion, found[example].secret.ResourceVersion, old.secrets[example].UID[:8])
	return nil
}

// outliveOldToken shows that the renewal was needed: at its expiry the old
// token opens nothing any more, and the new one does.
func (s *story) outliveOldToken(ctx context.Context, old, current ecrToken) error {
	if _, err := s.pull(ctx, ecrImage, old.logins); err != nil {
		return fmt.Errorf("with the old token, %s before its expiry: %w", time.Until(old.expires).Round(time.Millisecond), err)
	}
	s.noted("both tokens are good now: a Pod that starts meanwhile can't be unlucky")
	expected := fmt.Sprintf("the old token's expiry (%s)", clock(old.expires))
	err := s.eventually(ctx, expected, time.Until(old.expires)+patience, func(ctx context.Context) error {
		if _, err := s.pull(ctx, ecrImage, old.logins); err == nil {
			return errors.New("the registry still takes it")
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.expectRefusal(ctx, ecrImage, old.logins, "with the old token"); err != nil {
		return err
	}
	if _, err := s.pull(ctx, ecrImage, current.logins); err != nil {
		return fmt.Errorf("with the new token: %w", err)
	}
	s.noted("%s: got the manifest with the new token", shortly(ecrImage))
	return nil
}
