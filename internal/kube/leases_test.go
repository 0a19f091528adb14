package kube

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
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
	saved, err := first.Load(t.Context())
	if err != nil || len(saved.HashKey) != 32 || len(saved.Leases) != 0 {
		t.Fatalf("the first load gave %+v, %v", saved, err)
	}
	for i := range 20 {
		if err := first.Save(t.Context(), fmt.Sprintf("%x-key", i), savedLease(fmt.Sprint(i)), nil); err != nil {
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

func TestExpiredLeasesAreForgotten(t *testing.T) {
	client := fake.NewClientset()
	leases := NewLeases(client.CoreV1().Secrets("ops"))
	if _, err := leases.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a-old", "a-new"} {
		if err := leases.Save(t.Context(), key, savedLease("x"), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := leases.Save(t.Context(), "a-newer", savedLease("x"), []string{"a-old"}); err != nil {
		t.Fatal(err)
	}
	again, err := NewLeases(client.CoreV1().Secrets("ops")).Load(t.Context())
	if _, found := again.Leases["a-old"]; err != nil || found || len(again.Leases) != 2 {
		t.Errorf("read back %v, %v", again.Leases, err)
	}
}

func TestARecordThatCannotBeReadIsLeftOut(t *testing.T) {
	client := fake.NewClientset(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ops", Name: leaseSecretName(3)}, Type: leaseSecretType,
		Data: map[string][]byte{"bad": []byte("{"), "good": []byte(`{"username":"u","password":"p"}`)},
	}, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ops", Name: leaseSecretName(4)}, Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{"foreign": []byte(`{"username":"u","password":"p"}`)},
	})
	saved, err := NewLeases(client.CoreV1().Secrets("ops")).Load(t.Context())
	if _, found := saved.Leases["good"]; err != nil || !found || len(saved.Leases) != 1 {
		t.Errorf("read %v, %v", saved.Leases, err)
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
