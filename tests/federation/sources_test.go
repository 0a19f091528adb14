package federation_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/providers/registry"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
)

func TestEveryNumberMakesSourcesThatTheOperatorTakes(t *testing.T) {
	cloud, err := fakecloud.Start(t.Context(), fakecloud.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Stop)
	id := federation.Identity{Issuer: "https://issuer.example.com", Namespace: "registry-access", Name: "puller"}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name, UID: "uid-1"}}
	keys := map[string]string{}
	for _, number := range []int{1, 9, 10, 99, 12345, 123456} {
		for _, source := range federation.Kinds(cloud, id, number) {
			name := fmt.Sprintf("%s %d", source.Name, number)
			made, err := registry.New(registry.Options{}).Source(source.Entry, nil, account)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			key := made.Provider.Key()
			if other, taken := keys[key]; taken {
				t.Errorf("%s and %s share a login", name, other)
			}
			keys[key] = name
		}
	}
}
