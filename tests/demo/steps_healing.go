package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// tamper is step 8.
func (s *story) tamper(ctx context.Context) error {
	overwritten, deleted := s.holders[0], s.holders[1]
	if err := s.overwrite(ctx, overwritten); err != nil {
		return err
	}
	return s.deleteOne(ctx, deleted)
}

// overwrite replaces a Secret's logins by others and waits for its healing.
func (s *story) overwrite(ctx context.Context, namespace string) error {
	original, err := s.secret(ctx, namespace)
	if err != nil {
		return err
	}
	const junk = `{"auths":{"registry.example.com":{"username":"mallory","password":"mallory"}}}`
	patch, err := json.Marshal(map[string]any{"data": map[string][]byte{corev1.DockerConfigJsonKey: []byte(junk)}})
	if err != nil {
		return fmt.Errorf("make a patch: %w", err)
	}
	s.show(fmt.Sprintf("$ kubectl -n %s patch secret %s --type merge -p '{\"data\": {\".dockerconfigjson\": \"…\"}}'", namespace, targetName))
	since := s.witness.now()
	tampered := original.DeepCopy()
	if err := s.api.Patch(ctx, tampered, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("overwrite Secret %s/%s: %w", namespace, targetName, err)
	}
	at := time.Now()
	if string(tampered.Data[corev1.DockerConfigJsonKey]) != junk {
		return unmet{expected: "the Secret to be overwritten for a moment", seen: "the API server answering with other data"}
	}
	healed, err := s.awaitSecret(ctx, since, namespace, "the Secret in "+namespace+" as it was", sameAs(original))
	if err != nil {
		return err
	}
	if healed.secret.UID != original.UID {
		return unmet{expected: "the Secret to be healed in place", seen: "another Secret (its UID differs)"}
	}
	s.saw(healed.at.Sub(at), "%s: the overwritten Secret was healed, in place", namespace)
	return nil
}

// deleteOne deletes a Secret and waits until it is back.
func (s *story) deleteOne(ctx context.Context, namespace string) error {
	original, err := s.secret(ctx, namespace)
	if err != nil {
		return err
	}
	s.show(fmt.Sprintf("$ kubectl -n %s delete secret %s", namespace, targetName))
	since := s.witness.now()
	if err := s.api.Delete(ctx, original.DeepCopy()); err != nil {
		return fmt.Errorf("delete Secret %s/%s: %w", namespace, targetName, err)
	}
	at := time.Now()
	isOld := sameAs(original)
	back, err := s.awaitSecret(ctx, since, namespace, "the Secret to be back in "+namespace, func(seen sighting) bool {
		return isOld(seen) && seen.secret.UID != original.UID
	})
	if err != nil {
		return err
	}
	s.saw(back.at.Sub(at), "%s: the deleted Secret was back", namespace)
	return nil
}

// sameAs recognises a Secret that stands and holds what another one does.
func sameAs(original *corev1.Secret) func(sighting) bool {
	return func(seen sighting) bool {
		return complete(seen) && bytes.Equal(seen.secret.Data[corev1.DockerConfigJsonKey], original.Data[corev1.DockerConfigJsonKey])
	}
}
