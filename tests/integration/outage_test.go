package integration

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
)

// cloudServices are all that exchanges ask.
var cloudServices = []fakecloud.Service{
	fakecloud.STS, fakecloud.ECR, fakecloud.ECRPublic, fakecloud.GoogleSTS, fakecloud.GoogleIAM, fakecloud.Chainguard,
	fakecloud.AzureAD, fakecloud.ACR, fakecloud.Quay, fakecloud.TokenExchange, fakecloud.JFrog, fakecloud.DockerHub,
}

// exchanges counts what the cloud's services were asked so far.
func exchanges() (count int) {
	for _, service := range cloudServices {
		count += shared.cloud.Calls(service)
	}
	return count
}

// shortLived makes everything that the cloud issues short-lived for one test.
func shortLived(t *testing.T, longest time.Duration) {
	t.Helper()
	shared.cloud.LimitLifetime(longest)
	t.Cleanup(func() { shared.cloud.LimitLifetime(0) })
}

// breakdown makes all services fail until mended is called.
func breakdown(t *testing.T, fault fakecloud.FaultKind) (mended func()) {
	t.Helper()
	for _, service := range cloudServices {
		shared.cloud.Fail(service, fakecloud.Fault{Kind: fault})
	}
	t.Cleanup(shared.cloud.ClearFaults)
	return shared.cloud.ClearFaults
}

// trusted lets the cloud take tokens of a test's own cluster.
func trusted(t *testing.T, own *cluster.Cluster) {
	t.Helper()
	if err := federation.TrustCluster(shared.cloud, own); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := federation.TrustCluster(shared.cloud, shared.cluster); err != nil {
			t.Error(err)
		}
	})
}

// everySource makes an object with a source of each kind, one static one, and
// further ones.
func everySource(t *testing.T, label string, further ...v1alpha1.CredentialSource) (imps *v1alpha1.ImagePullSecret, sources []federation.Source) {
	t.Helper()
	id := identity(t)
	sources = federation.Kinds(shared.cloud, id, number())
	entries := []v1alpha1.CredentialSource{staticSource(t, id.Namespace, registry)}
	for _, source := range sources {
		entries = append(entries, source.Entry)
	}
	return object(t, "pull", label, append(entries, further...)...), sources
}

// registriesOf are all that a Secret of everySource has a login for.
func registriesOf(sources []federation.Source) []string {
	registries := []string{registry, "ecr-public.aws.com"}
	for _, source := range sources {
		registries = append(registries, source.Registry)
	}
	slices.Sort(registries)
	return registries
}

// Every login is renewed before it ends, and what stands in the Secret works all
// the time.
func TestEverySourceIsRenewed(t *testing.T) {
	shortLived(t, 8*time.Second)
	label := unique("label")
	selected := namespace(t, label, "yes")
	imps, sources := everySource(t, label)
	expectReady(t, imps.Name, 1)
	first := expectSecret(t, selected, "pull", registriesOf(sources)...)
	for _, source := range sources {
		t.Run(source.Name, func(t *testing.T) {
			old := passwordOf(t, first, source.Registry)
			eventually(t, "the renewal", func() error {
				secret, err := secretIn(t, selected, "pull")
				if err != nil {
					return err
				}
				if err := pull(t.Context(), secret, source.Registry); err != nil {
					t.Fatalf("what stands in the Secret does not open %s: %v", source.Registry, err)
				}
				if passwordOf(t, secret, source.Registry) == old {
					return errors.New("the old login is still in use")
				}
				return nil
			})
		})
	}
}

// The clouds are of no use for longer than any login lives: it is said, nothing
// is taken away, other sources go on, and everything recovers by itself. So it
// is when the operator is killed meanwhile.
func TestAnOutageIsSurvived(t *testing.T) {
	own := ownCluster(t, withAllRights)
	trusted(t, own)
	for sentence, test := range map[string]outage{
		"every service fails":                   {fakecloud.ServerError, time.Second},
		"every service asks for fewer requests": {fakecloud.Throttle, 8 * time.Second},
	} {
		t.Run(sentence, func(t *testing.T) { test.expectSurvived(t, own) })
	}
}

// outage is a trouble that all services have.
type outage struct {
	fault fakecloud.FaultKind
	// firstWait is between the first two exchanges of a source without a valid
	// login (retryAfter of internal/credentials/schedule.go).
	firstWait time.Duration
}

func (o outage) expectSurvived(t *testing.T, own *cluster.Cluster) {
	t.Helper()
	process := runOperator(t, own)
	shortLived(t, 8*time.Second)
	label := unique("label")
	selected := namespace(t, label, "yes")
	imps, sources := everySource(t, label)
	expectReady(t, imps.Name, 1)
	expectSecret(t, selected, "pull", registriesOf(sources)...)

	mended := breakdown(t, o.fault)
	message := expectCondition(t, imps.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonExpired)
	eventually(t, "every source but the static one to be told expired", func() error { return allExpired(t, imps.Name) })
	if message == "" {
		t.Error("the condition says nothing")
	}
	expectEvent(t, imps.Name, v1alpha1.ReasonExpired)
	expectSecret(t, selected, "pull", registriesOf(sources)...) // nothing was taken away

	process.Kill()
	killed, before, toAWS := time.Now(), exchanges(), shared.cloud.Calls(fakecloud.STS)
	process = runOperator(t, own)
	later := unique("registry") + ".example.com"
	id := federation.Identity{Namespace: namespace(t)}
	static := object(t, "other", label, staticSource(t, id.Namespace, later))
	expectSecret(t, selected, "other", later) // nobody else has to wait
	expectReady(t, static.Name, 1)
	expectCalls(t, fakecloud.STS, toAWS+awsRequests*countAWS(sources)) // others take less time
	if made, most := exchanges()-before, o.mostRequests(sources, time.Since(killed)); made > most {
		t.Errorf("%d requests to services that are of no use, want at most %d", made, most)
	}

	mended()
	eventuallyLong(t, imps.Name+" to recover by itself", func() error {
		status := get(t, imps.Name).Status
		if !meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady) {
			return fmt.Errorf("status is %+v", status.Conditions)
		}
		secret, err := secretIn(t, selected, "pull")
		if err != nil {
			return err
		}
		return opensAll(t, secret, sources)
	})
	if err := process.Stop(); err != nil {
		t.Error(err)
	}
}

// awsRequests are made by an exchange with AWS whose first request fails: the
// SDK makes sure of it (maxAttempts of internal/awsidentity/identity.go).
const awsRequests = 3

func countAWS(sources []federation.Source) (count int) {
	for _, source := range sources {
		if source.Service == fakecloud.STS {
			count++
		}
	}
	return count
}

// mostRequests are all that an operator may make within a time to services that
// fail for all of it. A source has an exchange at once, and further ones after
// waits that double; jitter makes them up to a tenth shorter. Each ends with
// its first service's answer. The rules of endpoints.go lessen nothing here:
// no host has outageAfter sources.
func (o outage) mostRequests(sources []federation.Source, within time.Duration) int {
	rounds := 1
	for wait := o.firstWait * 9 / 10; wait <= within; wait *= 2 {
		within -= wait
		rounds++
	}
	return rounds * (len(sources) + (awsRequests-1)*countAWS(sources))
}

func allExpired(t *testing.T, name string) error {
	t.Helper()
	status := get(t, name).Status
	for _, c := range status.Credentials[1:] {
		if c.Reason != v1alpha1.ReasonExpired || c.Ready != metav1.ConditionFalse {
			return fmt.Errorf("%s is %s (%s)", c.Name, c.Ready, c.Reason)
		}
	}
	if static := status.Credentials[0]; static.Ready != metav1.ConditionTrue {
		return fmt.Errorf("the static source is %s (%s)", static.Ready, static.Reason)
	}
	return nil
}

func opensAll(t *testing.T, secret *corev1.Secret, sources []federation.Source) error {
	t.Helper()
	for _, source := range sources {
		if err := pull(t.Context(), secret, source.Registry); err != nil {
			return fmt.Errorf("%s: %w", source.Name, err)
		}
	}
	return nil
}

// An endpoint that hangs delays no other source while it does so: not one of
// the same object, nor one that comes later. It counts what the suite's
// operator does, so no other test may run beside it.
func TestAnEndpointThatHangsDelaysNobody(t *testing.T) {
	id, label := identity(t), unique("label")
	selected := namespace(t, label, "yes")
	hanging, beside := federation.Quay(shared.cloud, id, number()), federation.Chainguard(shared.cloud, id, number())
	hang(t, fakecloud.Quay, hanging.Registry)
	asked, ended := shared.cloud.Calls(fakecloud.Quay), givenUp(t, "quay")
	imps := object(t, "pull", label, hanging.Entry, beside.Entry)
	expectCalls(t, fakecloud.Quay, asked+1)
	// The object's other source goes ahead after two seconds of waiting.
	expectSecret(t, selected, "pull", beside.Registry)
	later := federation.Quay(shared.cloud, id, number())
	object(t, "later", label, later.Entry)
	expectSecret(t, selected, "later", later.Registry)
	if status := get(t, imps.Name).Status; status.Credentials[0].Ready == metav1.ConditionTrue {
		t.Errorf("the source that hangs is told to be ready: %+v", status.Credentials[0])
	}
	if givenUp(t, "quay") != ended {
		t.Error("the logins came only after the exchange that hung was given up")
	}
}

const (
	// hungSources are more than get to hang at a time, which mostHung do
	// (internal/credentials/endpoints.go).
	hungSources = 48
	mostHung    = 32
)

// Many exchanges with one registry of Azure hang, which asked the directory
// before: those with other registries of the same directory are not delayed.
func TestAHungRegistryDelaysNoneBesideIt(t *testing.T) {
	id, label := identity(t), unique("label")
	selected := namespace(t, label, "yes")
	hung := federation.AzureContainerRegistry(shared.cloud, id, number())
	hang(t, fakecloud.ACR, hung.Registry)
	entries := []v1alpha1.CredentialSource{hung.Entry}
	for len(entries) < hungSources {
		other := federation.AzureContainerRegistry(shared.cloud, id, number()) // by another application
		other.Entry.AzureContainerRegistry.Registry = hung.Entry.AzureContainerRegistry.Registry
		entries = append(entries, other.Entry)
	}
	asked, ended := shared.cloud.Calls(fakecloud.ACR), givenUp(t, "azureContainerRegistry")
	object(t, "hung", label, entries...)
	expectCalls(t, fakecloud.ACR, asked+mostHung)
	good := federation.AzureContainerRegistry(shared.cloud, id, number())
	object(t, "good", label, good.Entry)
	expectSecret(t, selected, "good", good.Registry)
	if given := givenUp(t, "azureContainerRegistry") - ended; given != 0 {
		t.Errorf("the login came only after %v of the exchanges that hung were given up", given)
	}
}

// hang makes a host of a service hold every request until the client gives up.
func hang(t *testing.T, service fakecloud.Service, host string) {
	t.Helper()
	shared.cloud.Fail(service, fakecloud.Fault{Kind: fakecloud.Hang, Host: host})
	t.Cleanup(func() { shared.cloud.ClearFaultsOf(host) })
}

// expectCalls waits until a service was asked so often.
func expectCalls(t *testing.T, service fakecloud.Service, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d requests to %s", want, service), func() error {
		if made := shared.cloud.Calls(service); made < want {
			return fmt.Errorf("%d were made", made)
		}
		return nil
	})
}

// givenUp is how many exchanges with a provider the suite's operator has ended
// without an answer.
func givenUp(t *testing.T, provider string) float64 {
	t.Helper()
	return metric(t, mainOperator, fmt.Sprintf(`imagepullsecret_exchanges_total{provider=%q,result="transient"}`, provider))
}
