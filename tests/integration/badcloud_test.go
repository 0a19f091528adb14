package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
)

// brokenSource is a source that would work but for one thing.
type brokenSource struct {
	// kind makes the source as it works.
	kind func(*fakecloud.Cloud, federation.Identity, int) federation.Source
	// spoil breaks the one thing, and returns what mends it.
	spoil func(*testing.T, *broken) (mend func())
	// reason and says are what people are told; see broken.worded.
	reason string
	says   []string
}

// broken is the source while it is broken.
type broken struct {
	federation.Source
	id federation.Identity
	// name is the object's, and selected the namespace that it is for.
	name, selected string
	mend           func()
}

// start makes an object with the broken source, and one that works.
func (bad brokenSource) start(t *testing.T) *broken {
	t.Helper()
	id, label := identity(t), unique("label")
	b := &broken{Source: bad.kind(shared.cloud, id, number()), id: id, selected: namespace(t, label, "yes")}
	b.mend = bad.spoil(t, b)
	b.name = object(t, "pull", label, b.Entry, staticSource(t, id.Namespace, goodRegistry)).Name
	return b
}

// expect waits until people are told, and checks that the other source works.
func (bad brokenSource) expect(t *testing.T, b *broken) {
	t.Helper()
	expectSecret(t, b.selected, "pull", goodRegistry)
	expectFailedExchange(t, b.name, bad.reason, b.worded(bad.says)...)
}

// expectMended mends what is broken and waits until the login opens its
// registry.
func (b *broken) expectMended(t *testing.T) {
	t.Helper()
	b.mend()
	update(t, b.name, func(object *v1alpha1.ImagePullSecret) { object.Spec.Registry.Credentials[0] = b.Entry })
	expectOpens(t, b.name, b.selected, b.Registry)
	expectNoLeak(t, b.name)
}

// check does all of it.
func (bad brokenSource) check(t *testing.T) {
	t.Helper()
	b := bad.start(t)
	bad.expect(t, b)
	b.expectMended(t)
}

// inEntry breaks something in the entry.
func inEntry(change func(*v1alpha1.CredentialSource)) func(*testing.T, *broken) func() {
	return func(_ *testing.T, b *broken) func() {
		right := b.Entry.DeepCopy()
		change(&b.Entry)
		return func() { b.Entry = *right }
	}
}

// inCloud breaks something in the cloud. What was refused is asked for again
// after ten minutes, or at once if the entry becomes another.
func inCloud(spoil, mend func(*broken)) func(*testing.T, *broken) func() {
	return func(_ *testing.T, b *broken) func() {
		spoil(b)
		return func() {
			mend(b)
			b.touch()
		}
	}
}

// inPassing breaks something in the cloud that is tried again soon.
func inPassing(spoil, mend func(*broken)) func(*testing.T, *broken) func() {
	return func(_ *testing.T, b *broken) func() {
		spoil(b)
		return func() { mend(b) }
	}
}

// touch makes the entry another one of the same meaning.
func (b *broken) touch() {
	switch entry := b.Entry.DeepCopy(); {
	case entry.ECR != nil:
		entry.ECR.UseDualStack = true
		b.Entry = *entry
	case entry.GoogleArtifactRegistry != nil:
		entry.GoogleArtifactRegistry.Audience = v1alpha1.Audience("//iam.googleapis.com/" + entry.GoogleArtifactRegistry.WorkloadIdentityProvider)
		b.Entry = *entry
	}
}

// withIssuerAt lets the cloud look for the cluster's keys elsewhere, for all
// tokens.
func withIssuerAt(server func(*testing.T) string) func(*testing.T, *broken) func() {
	return func(t *testing.T, b *broken) func() {
		shared.cloud.AddIssuer(fakecloud.Issuer{URL: b.id.Issuer, Server: server(t)})
		mend := func() {
			if err := federation.TrustCluster(shared.cloud, shared.cluster); err != nil {
				t.Error(err)
			}
		}
		t.Cleanup(mend)
		return mend
	}
}

// worded puts the source's names into texts.
func (b *broken) worded(texts []string) []string {
	names := []string{"{issuer}", b.id.Issuer, "{subject}", b.id.Subject(), "{registry}", b.Registry}
	if aws := b.aws(); aws != nil {
		names = append(names, "{role}", string(aws.RoleARN))
		if last := len(aws.AssumeRoles) - 1; last >= 0 {
			names = append(names, "{last}", string(aws.AssumeRoles[last].RoleARN))
		}
	}
	if google := b.Entry.GoogleArtifactRegistry; google != nil {
		pool, _, _ := strings.Cut(google.WorkloadIdentityProvider, "/providers/")
		names = append(names, "{provider}", google.WorkloadIdentityProvider, "{reader}", google.GoogleServiceAccount,
			"{member}", "principal://iam.googleapis.com/"+pool+"/subject/"+b.id.Subject())
		if len(google.Delegates) > 0 {
			names = append(names, "{delegate}", google.Delegates[0])
		}
	}
	worded := slices.Clone(texts)
	for i, text := range worded {
		worded[i] = strings.NewReplacer(names...).Replace(text)
	}
	return worded
}

// expectNothingAsked checks that nothing was asked of anybody since.
func expectNothingAsked(t *testing.T, before int) {
	t.Helper()
	if asked := exchanges() - before; asked > 0 {
		t.Errorf("%d requests were made", asked)
	}
	for _, host := range shared.cloud.UnknownHosts() {
		if strings.Contains(host, "evil.example") {
			t.Errorf("%s was asked", host)
		}
	}
}

// expectOpens waits until an object's Secret opens a registry.
func expectOpens(t *testing.T, name, namespace, registry string) {
	t.Helper()
	expectReady(t, name, 1)
	secret, err := secretIn(t, namespace, "pull")
	if err != nil {
		t.Fatal(err)
	}
	if err := pull(t.Context(), secret, registry); err != nil {
		t.Errorf("pulling from %s: %v", registry, err)
	}
}

// A login is got by whoever may have one; what it opens is the registry's
// business, and seen at a pull only.
func TestBadAWSAndGoogleReadersAreSeenAtAPull(t *testing.T) {
	tests := map[string]struct {
		kind  func(*fakecloud.Cloud, federation.Identity, int) federation.Source
		close func(*broken) (open func())
	}{
		"ECR's token opens no registry of an account that does not grant it": {federation.ECR, func(b *broken) func() {
			aws := b.aws()
			account := b.Entry.ECR.AccountID
			shared.cloud.RevokeECR(string(aws.RoleARN))
			shared.cloud.GrantECR(string(aws.RoleARN), "999999999999")
			return func() { shared.cloud.GrantECR(string(aws.RoleARN), account) }
		}},
		"Google's token opens no registry whose reader it is not": {federation.ArtifactRegistry, func(b *broken) func() {
			closed := "us-south" + strings.TrimPrefix(b.Registry, "europe-west")
			b.Entry.GoogleArtifactRegistry.Registries, b.Registry = []v1alpha1.RegistryHost{v1alpha1.RegistryHost(closed)}, closed
			return func() { shared.cloud.GrantArtifactRegistry(closed, b.worded([]string{"{member}"})[0]) }
		}},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			var open func()
			b := brokenSource{kind: test.kind, spoil: func(_ *testing.T, b *broken) func() {
				open = test.close(b)
				return func() {}
			}}.start(t)
			expectReady(t, b.name, 1)
			secret, err := secretIn(t, b.selected, "pull")
			if err != nil {
				t.Fatal(err)
			}
			if err := pull(t.Context(), secret, b.Registry); err == nil {
				t.Errorf("%s let it in", b.Registry)
			}
			open()
			expectOpens(t, b.name, b.selected, b.Registry)
		})
	}
}
