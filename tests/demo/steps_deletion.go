package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/tests/operator"
)

// collectionPatience is for the garbage collector, which looks for new kinds
// of objects, such as ours, every 30 seconds only.
const collectionPatience = 2 * time.Minute

// deleteObject is step 10.
func (s *story) deleteObject(ctx context.Context) error {
	others, err := s.otherSecrets(ctx)
	if err != nil {
		return err
	}
	object, err := s.object(ctx)
	if err != nil {
		return err
	}
	s.show("$ kubectl delete imps " + objectName)
	s.say("Kubernetes' garbage collector removes what it owned. It looks for newly installed kinds every 30 s")
	s.say("only, and tries ever less often what it could not decide till then; later deletions take no time.")
	since := s.witness.now()
	if err := s.api.Delete(ctx, object); err != nil {
		return fmt.Errorf("delete the ImagePullSecret: %w", err)
	}
	at := time.Now()
	found, err := s.awaitSecrets(ctx, since, s.holders, "the Secrets to go", collectionPatience, gone)
	if err != nil {
		return err
	}
	last := slices.MaxFunc(slices.Collect(maps.Values(found)), func(a, b sighting) int { return a.at.Compare(b.at) })
	left, err := s.keptSecrets(ctx)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return unmet{expected: "no Secret of the deleted ImagePullSecret", seen: fmt.Sprintf("%d, such as in %s", len(left), left[0].Namespace)}
	}
	s.saw(last.at.Sub(at), "all its Secrets are gone from %s", namespaces(len(found)))
	return s.checkUntouched(ctx, others)
}

// otherSecrets returns who is who among the Secrets that are none of the
// operator's, by namespace and name, with their versions.
func (s *story) otherSecrets(ctx context.Context) (map[client.ObjectKey]string, error) {
	var list corev1.SecretList
	if err := s.api.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list all Secrets: %w", err)
	}
	others := map[client.ObjectKey]string{}
	for _, secret := range list.Items {
		if !kept(&secret) && secret.Namespace != operator.Namespace {
			others[client.ObjectKeyFromObject(&secret)] = version(secret.UID, secret.ResourceVersion)
		}
	}
	return others, nil
}

func version(uid types.UID, resourceVersion string) string {
	return string(uid) + " " + resourceVersion
}

// checkUntouched compares the Secrets of others with what they were.
func (s *story) checkUntouched(ctx context.Context, before map[client.ObjectKey]string) error {
	after, err := s.otherSecrets(ctx)
	if err != nil {
		return err
	}
	for key, was := range before {
		if is := after[key]; is != was {
			return unmet{expected: fmt.Sprintf("Secret %s untouched (%s)", key, was), seen: fmt.Sprintf("%q", is)}
		}
	}
	foreign := client.ObjectKey{Namespace: s.holders[0], Name: foreignName}
	var secret corev1.Secret
	if err := s.api.Get(ctx, foreign, &secret); err != nil {
		return fmt.Errorf("read Secret %s, which was to stay: %w", foreign, err)
	}
	if secret.UID != s.foreign {
		return unmet{expected: fmt.Sprintf("Secret %s as it was made", foreign), seen: "another one in its place"}
	}
	s.noted("all %d others are untouched, such as %s", len(before), foreign)
	return nil
}
