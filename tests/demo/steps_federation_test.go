package main

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
	"github.com/imagepullsecrets/operator/tests/operator"
)

var identity = federation.Identity{Issuer: "https://issuer.example.com", Namespace: identityNamespace, Name: identityName}

// everyKind makes a source of each kind in a cloud of its own.
func everyKind(t *testing.T) []federation.Source {
	t.Helper()
	cloud, err := fakecloud.Start(t.Context(), fakecloud.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Stop)
	return federation.Kinds(cloud, identity, federatedNumber)
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// told is the status of a credential that works.
func told(name, provider string, lifetime time.Duration, registries ...string) v1alpha1.CredentialStatus {
	return v1alpha1.CredentialStatus{
		Name: name, Provider: provider, Ready: metav1.ConditionTrue, Registries: registries,
		ExpiresAt: &metav1.Time{Time: noon.Add(lifetime)}, RenewAt: &metav1.Time{Time: noon.Add(lifetime / 2)},
	}
}

func TestTheCredentialsAreShownWithTheirTimes(t *testing.T) {
	expectText(t, credentialTable([]v1alpha1.CredentialStatus{
		told("credentials[0].ecrPublic", "ecrPublic", 16*time.Second, "ecr-public.aws.com", "public.ecr.aws"),
		told("credentials[1].quay", "quay", time.Minute, "quay.io"),
	}), `ENTRY  PROVIDER   REGISTRIES                          EXPIRES    RENEW AT
[0]    ecrPublic  ecr-public.aws.com, public.ecr.aws  12:00:16Z  12:00:08Z
[1]    quay       quay.io                             12:01:00Z  12:00:30Z
`)
}

func TestARenewalIsShownWithWhatWasToSpare(t *testing.T) {
	before := []v1alpha1.CredentialStatus{told("credentials[0].quay", "quay", 20*time.Second, "quay.io")}
	after := []v1alpha1.CredentialStatus{told("credentials[0].quay", "quay", time.Hour, "quay.io")}
	expectText(t, renewalTable(before, []time.Time{noon.Add(9 * time.Second)}, after),
		`ENTRY  PROVIDER  RENEWED    TO SPARE  EXPIRES NOW           RENEW AT
[0]    quay      12:00:09Z  11.0 s    2026-01-02T13:00:00Z  2026-01-02T12:30:00Z
`)
}

func TestTheShownRightsAreThoseThatAreNeeded(t *testing.T) {
	text, err := manifest("identity.yaml", values{
		Name: identityName, Namespace: identityNamespace,
		Operator: types.NamespacedName{Namespace: operator.Namespace, Name: operator.ServiceAccount},
	})
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), len(text))
	var account corev1.ServiceAccount
	var role rbacv1.Role
	var binding rbacv1.RoleBinding
	for _, object := range []any{&account, &role, &binding} {
		if err := decoder.Decode(object); err != nil {
			t.Fatal(err)
		}
	}
	if account.Namespace != identity.Namespace || account.Name != identity.Name {
		t.Errorf("the ServiceAccount is %s/%s", account.Namespace, account.Name)
	}
	role.TypeMeta, binding.TypeMeta = metav1.TypeMeta{}, metav1.TypeMeta{}
	for i, shown := range []any{&role, &binding} {
		if needed := identity.Rights()[i]; !reflect.DeepEqual(shown, needed) {
			t.Errorf("shown %+v, needed %+v", shown, needed)
		}
	}
}

func TestTheShownObjectIsWrittenAsAPersonWould(t *testing.T) {
	text, err := yamlOf(federatedObject(everyKind(t)[:1]))
	if err != nil {
		t.Fatal(err)
	}
	expectText(t, text, `apiVersion: images.banzaicloud.io/v1alpha1
kind: ImagePullSecret
metadata:
  name: federated
spec:
  registry:
    credentials:
    - ecr:
        accountID: "200000000010"
        region: eu-central-1
        roleARN: arn:aws:iam::200000000010:role/identities.puller
        serviceAccount:
          name: puller
          namespace: identities
  target:
    namespaces:
      names:
      - platform
    secret:
      name: federated
`)
}

func TestEveryRegistryHasAnImageThatItsLoginIsFor(t *testing.T) {
	for _, source := range everyKind(t) {
		image, err := name.ParseReference(imageOf(source))
		if err != nil {
			t.Errorf("%s: %v", source.Name, err)
			continue
		}
		logins := keychain{source.Registry: {Username: "robot"}}
		login, err := logins.Resolve(image.Context())
		if err != nil {
			t.Fatal(err)
		}
		if used, err := login.Authorization(); err != nil || used.Username != "robot" {
			t.Errorf("%s: for %s the login %+v is used (%v)", source.Name, image, used, err)
		}
	}
}

func TestEverySourceIsAmongWhatARenewalAsks(t *testing.T) {
	once := map[fakecloud.Service]int{}
	for _, service := range askedOnce() {
		once[service.service] = service.calls
	}
	first := map[fakecloud.Service]int{}
	for _, source := range everyKind(t) {
		first[source.Service]++
	}
	for service, calls := range first {
		if once[service] < calls {
			t.Errorf("%s is asked first by %d sources, and %d times in all", service, calls, once[service])
		}
	}
}

func TestAStatusMustTellOfEverySource(t *testing.T) {
	sources := []federation.Source{{
		Entry:    v1alpha1.CredentialSource{Quay: &v1alpha1.QuaySource{}},
		Registry: "quay.io",
	}}
	good := told("credentials[0].quay", "quay", time.Hour, "quay.io")
	for what, c := range map[string]struct {
		change func(*v1alpha1.CredentialStatus)
		want   string
	}{
		"a credential that works":        {func(*v1alpha1.CredentialStatus) {}, ""},
		"one that does not":              {func(c *v1alpha1.CredentialStatus) { c.Ready, c.Reason = metav1.ConditionFalse, "Denied" }, "credentials[0].quay Denied: "},
		"one without an expiry":          {func(c *v1alpha1.CredentialStatus) { c.ExpiresAt = nil }, "credentials[0].quay without its times"},
		"one without a renewal":          {func(c *v1alpha1.CredentialStatus) { c.RenewAt = nil }, "credentials[0].quay without its times"},
		"one that is renewed at its end": {func(c *v1alpha1.CredentialStatus) { c.RenewAt = c.ExpiresAt }, "credentials[0].quay without its times"},
		"one of another name":            {func(c *v1alpha1.CredentialStatus) { c.Name = "q" }, "q from quay for [quay.io] instead of credentials[0].quay for quay.io"},
		"one of another provider":        {func(c *v1alpha1.CredentialStatus) { c.Provider = "ecr" }, "credentials[0].quay from ecr for [quay.io] instead of credentials[0].quay for quay.io"},
		"one for another registry":       {func(c *v1alpha1.CredentialStatus) { c.Registries = []string{"r"} }, "credentials[0].quay from quay for [r] instead of credentials[0].quay for quay.io"},
	} {
		status := good
		c.change(&status)
		s := &story{federated: sources}
		var got string
		if err := s.checkTold([]v1alpha1.CredentialStatus{status}, func(int, v1alpha1.CredentialStatus) error { return nil }); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
	if err := (&story{federated: sources}).checkTold(nil, nil); err == nil {
		t.Error("no credential at all is enough")
	}
}

func TestACredentialThatFailsIsToldOfBeforeARenewal(t *testing.T) {
	s := &story{}
	for _, registry := range []string{"quay.io", "quay.example.com"} {
		s.federated = append(s.federated, federation.Source{
			Entry: v1alpha1.CredentialSource{Quay: &v1alpha1.QuaySource{}}, Registry: registry,
		})
	}
	renewing, failing := told("credentials[0].quay", "quay", 0, "quay.io"), told("credentials[1].quay", "quay", 0, "quay.example.com")
	renewing.ExpiresAt.Time = noon.Add(time.Second)
	failing.Ready, failing.Reason = metav1.ConditionFalse, "Denied"
	err := s.checkTold([]v1alpha1.CredentialStatus{renewing, failing}, renewsLater)
	if err == nil || err.Error() != "credentials[1].quay Denied: " {
		t.Errorf("told: %v", err)
	}
}

// secretSeen is a sighting of the federated Secret with a password for quay.io
// and one for cgr.dev.
func secretSeen(at time.Time, kind watch.EventType, quay, chainguard string) sighting {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: federatedNamespace, Name: federatedName}}
	secret.Data = map[string][]byte{corev1.DockerConfigJsonKey: []byte(
		`{"auths":{"quay.io":{"username":"r","password":"` + quay + `"},"cgr.dev":{"username":"r","password":"` + chainguard + `"}}}`)}
	return sighting{at: at, kind: kind, secret: secret}
}

func TestARenewalCountsFromWhenANewLoginStandsForTheFirstTime(t *testing.T) {
	elsewhere := secretSeen(noon, watch.Modified, "new", "new")
	elsewhere.secret.Namespace = "elsewhere"
	history := []sighting{
		secretSeen(noon, watch.Added, "older", "older"),
		secretSeen(noon.Add(1*time.Second), watch.Modified, "old", "old"),
		elsewhere,
		secretSeen(noon.Add(2*time.Second), watch.Deleted, "new", "new"),
		secretSeen(noon.Add(3*time.Second), watch.Modified, "new", "old"),
		secretSeen(noon.Add(4*time.Second), watch.Modified, "newer", "old"),
	}
	s := &story{
		environment: &environment{witness: &witness{history: history}},
		federated:   []federation.Source{{Registry: "quay.io"}, {Registry: "cgr.dev"}},
	}
	old := federatedLogins{logins: loginsOf(history[1].secret), since: 2}
	renewed, missing := s.renewals(old)
	if want := []time.Time{noon.Add(3 * time.Second), {}}; missing != 1 || !reflect.DeepEqual(renewed, want) {
		t.Errorf("%d missing, renewed %v, want %v", missing, renewed, want)
	}
}

func TestARenewalAfterTheOldLoginsEndIsAFailure(t *testing.T) {
	old := federatedLogins{told: []v1alpha1.CredentialStatus{told("credentials[0].quay", "quay", time.Minute, "quay.io")}}
	for after, late := range map[time.Duration]bool{59 * time.Second: false, time.Minute: true, 2 * time.Minute: true} {
		if err := checkRenewals(old, []time.Time{noon.Add(after)}); (err != nil) != late {
			t.Errorf("after %s of a minute: %v", after, err)
		}
	}
}

func TestARenewalThatAsksMoreOrLessThanItMustIsAFailure(t *testing.T) {
	for extra, failed := range map[int]bool{-1: true, 0: false, 1: true} {
		before, after := askedOnce(), askedOnce()
		for i := range after {
			after[i].calls += before[i].calls
		}
		after[len(after)-1].calls += extra
		s := &story{printer: &printer{out: &strings.Builder{}}}
		if err := s.checkExchanges(before, after); (err != nil) != failed {
			t.Errorf("%+d calls: %v", extra, err)
		}
	}
}
