package kube

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/imagepullsecrets/operator/internal/credentials"
	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/providers"
)

func savedLease(password string) credentials.SavedLease {
	return credentials.SavedLease{
		Credential: providers.Credential{
			Login:     dockerconfig.Login{Username: "u", Password: password},
			ExpiresAt: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC),
		},
		IssuedAt: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC),
	}
}

func TestLeasesAreReadBackByAnotherProcess(t *testing.T) {
	client := fake.NewClientset()
	first := NewLeases(client.CoreV1().Secrets("ops"))
	first.now = func() time.Time { return savedLease("").IssuedAt }
	saved, err := first.Load(t.Context())
	if err != nil || len(saved.HashKey) != 32 || len(saved.Leases) != 0 {
		t.Fatalf("the first load gave %+v, %v", saved, err)
	}
	for i := range 20 {
		if err := first.Save(t.Context(), fmt.Sprintf("%x-key", i), savedLease(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	again, err := NewLeases(client.CoreV1().Secrets("ops")).Load(t.Context())
	if err != nil || !bytes.Equal(again.HashKey, saved.HashKey) || len(again.Leases) != 20 {
		t.Fatalf("the second load gave %d leases, %v", len(again.Leases), err)
	}
	got := again.Leases["7-key"]
	if got.Credential.Login.Password != "7" || !got.IssuedAt.Equal(savedLease("").IssuedAt) || !got.Credential.ExpiresAt.Equal(savedLease("").Credential.ExpiresAt) {
		t.Errorf("read back %+v", got)
	}
	list, err := client.CoreV1().Secrets("ops").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) > leaseSecretCount {
		t.Errorf("%d Secrets, %v; a Role names %d", len(list.Items), err, leaseSecretCount)
	}
	for _, secret := range list.Items {
		if secret.Type != leaseSecretType {
			t.Errorf("%s is of type %s", secret.Name, secret.Type)
		}
	}
}

// inShard are keys that are kept in the same Secret as key.
func inShard(key string, count int) []string {
	keys := []string{key}
	for i := 0; len(keys) < count; i++ {
		if other := fmt.Sprint(key, "-", i); shardOf(other) == shardOf(key) {
			keys = append(keys, other)
		}
	}
	return keys
}

// loaded are leases of an installation that has none yet, at the time when
// savedLease is issued.
func loaded(t *testing.T) (*fake.Clientset, *Leases) {
	t.Helper()
	client := fake.NewClientset()
	leases := NewLeases(client.CoreV1().Secrets("ops"))
	leases.now = func() time.Time { return savedLease("").IssuedAt }
	if _, err := leases.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return client, leases
}

// A key that was given out and not written would be another one after a restart.
func TestTheKeyForHashingIsWrittenBeforeItIsGivenOut(t *testing.T) {
	client := fake.NewClientset()
	failures := 2
	client.PrependReactor("patch", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		failures--
		return failures >= 0, nil, errors.New("no right yet")
	})
	leases := NewLeases(client.CoreV1().Secrets("ops"))
	for failures > 0 {
		if _, err := leases.Load(t.Context()); err == nil {
			t.Fatal("loaded although the key could not be written")
		}
	}
	first, err := leases.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := NewLeases(client.CoreV1().Secrets("ops")).Load(t.Context())
	if err != nil || !bytes.Equal(first.HashKey, again.HashKey) {
		t.Errorf("another key after a restart (%v)", err)
	}
}

func TestExpiredLeasesAreForgotten(t *testing.T) {
	client, leases := loaded(t)
	keys := inShard("a", 3)
	for _, key := range keys[:2] {
		if err := leases.Save(t.Context(), key, savedLease(key)); err != nil {
			t.Fatal(err)
		}
	}
	leases.now = func() time.Time { return savedLease("").Credential.ExpiresAt }
	later := savedLease("x")
	later.Credential.ExpiresAt = later.Credential.ExpiresAt.Add(time.Hour)
	if err := leases.Save(t.Context(), keys[2], later); err != nil {
		t.Fatal(err)
	}
	again, err := NewLeases(client.CoreV1().Secrets("ops")).Load(t.Context())
	if _, found := again.Leases[keys[2]]; err != nil || !found || len(again.Leases) != 1 {
		t.Errorf("read back %d leases, %v", len(again.Leases), err)
	}
}

// What is forgotten is gone at once, and what stands beside it stays.
func TestForgottenLeasesAreNotStored(t *testing.T) {
	client, leases := loaded(t)
	keys := append(inShard("a", 2), inShard("b", 1)...)
	for _, key := range keys {
		if err := leases.Save(t.Context(), key, savedLease("p")); err != nil {
			t.Fatal(err)
		}
	}
	if err := leases.Forget(t.Context(), []string{keys[0], keys[2], "unknown"}); err != nil {
		t.Fatal(err)
	}
	again, err := NewLeases(client.CoreV1().Secrets("ops")).Load(t.Context())
	if _, found := again.Leases[keys[1]]; err != nil || !found || len(again.Leases) != 1 {
		t.Errorf("read back %d leases, %v", len(again.Leases), err)
	}
}

// Renewals that come together are written together, and none is lost.
func TestLeasesThatComeTogetherAreWrittenTogether(t *testing.T) {
	client, leases := loaded(t)
	keys := inShard("a", 100)
	begun, release := make(chan struct{}, len(keys)), make(chan struct{})
	writes := 0
	client.PrependReactor("patch", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		if writes++; writes == 1 {
			begun <- struct{}{}
			<-release
		}
		return false, nil, nil
	})
	var saving sync.WaitGroup
	save := func(key string) {
		saving.Go(func() {
			if err := leases.Save(t.Context(), key, savedLease(key)); err != nil {
				t.Error(err)
			}
		})
	}
	save(keys[0])
	<-begun // the first is being written while all others come
	shard := &leases.shards[shardOf("a")]
	for _, key := range keys[1:] {
		save(key)
	}
	for saved := 0; saved < len(keys); {
		shard.mu.Lock()
		saved = len(shard.records)
		shard.mu.Unlock()
	}
	close(release)
	saving.Wait()
	again, err := NewLeases(client.CoreV1().Secrets("ops")).Load(t.Context())
	if err != nil || len(again.Leases) != len(keys) || writes != 2 {
		t.Errorf("%d of %d leases are kept after %d writes, %v", len(again.Leases), len(keys), writes, err)
	}
}

// One login must not keep all others of its Secret from being kept.
func TestALeaseThatIsRefusedIsNotTriedWithEveryOther(t *testing.T) {
	client, leases := loaded(t)
	keys := inShard("a", 2)
	refuse := true
	client.PrependReactor("patch", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		if refuse {
			return true, nil, apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "s", nil)
		}
		return false, nil, nil
	})
	if err := leases.Save(t.Context(), keys[0], savedLease("x")); err == nil {
		t.Error("the refusal is not told")
	}
	refuse = false
	if err := leases.Save(t.Context(), keys[1], savedLease("y")); err != nil {
		t.Fatal(err)
	}
	again, err := NewLeases(client.CoreV1().Secrets("ops")).Load(t.Context())
	if _, found := again.Leases[keys[1]]; err != nil || !found || len(again.Leases) != 1 {
		t.Errorf("read back %d leases, %v", len(again.Leases), err)
	}
	if err := leases.Save(t.Context(), keys[0], savedLease(strings.Repeat("x", maxLeaseRecord))); err == nil {
		t.Error("a login that would fill the Secret is kept")
	}
}

func TestARecordThatCannotBeReadIsLeftOut(t *testing.T) {
	good := inShard("good", 2)
	client := fake.NewClientset(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ops", Name: leaseSecretName(shardOf("good"))}, Type: leaseSecretType,
		Data: map[string][]byte{good[1]: []byte("{"), "good": []byte(`{"username":"u","password":"p"}`)},
	}, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ops", Name: leaseSecretName(shardOf("foreign"))}, Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{"foreign": []byte(`{"username":"u","password":"p"}`)},
	})
	saved, err := NewLeases(client.CoreV1().Secrets("ops")).Load(t.Context())
	if _, found := saved.Leases["good"]; err != nil || !found || len(saved.Leases) != 1 {
		t.Errorf("read %d leases, %v", len(saved.Leases), err)
	}
}

func TestAFailureToReadLeasesIsNotTakenForNone(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("get", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("boom")
	})
	if _, err := NewLeases(client.CoreV1().Secrets("ops")).Load(t.Context()); err == nil {
		t.Error("no error")
	}
}
