package federation

import (
	"fmt"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// GoogleRegistries are registries of one of Google's clouds.
type GoogleRegistries struct {
	// Universe is the cloud's domain; empty for none, which means
	// googleapis.com.
	Universe string
	// Hosts are those of the registries. A source tells the first.
	Hosts []string
}

// pool makes a workload identity pool's provider that trusts the cluster.
func (g GoogleRegistries) pool(cloud *fakecloud.Cloud, id Identity, number int) (provider, principal string) {
	pool := fmt.Sprintf("projects/%d/locations/global/workloadIdentityPools/clusters", 100000000000+number)
	provider = pool + "/providers/cluster"
	cloud.AddWorkloadIdentityProvider(fakecloud.WorkloadIdentityProvider{Name: provider, Issuer: id.Issuer, Universe: g.Universe})
	return provider, "principal://iam.googleapis.com/" + pool + "/subject/" + id.Subject()
}

// source lets a principal read the registries, and returns a source that still
// lacks how an identity becomes that principal.
func (g GoogleRegistries) source(cloud *fakecloud.Cloud, id Identity, name, principal string) Source {
	reference := id.Reference()
	entry := &v1alpha1.GoogleArtifactRegistrySource{ServiceAccount: &reference, UniverseDomain: g.Universe}
	for _, host := range g.Hosts {
		cloud.GrantArtifactRegistry(host, principal)
		entry.Registries = append(entry.Registries, v1alpha1.RegistryHost(host))
	}
	return Source{
		Name: name, Entry: v1alpha1.CredentialSource{GoogleArtifactRegistry: entry},
		Registry: g.Hosts[0], Service: fakecloud.GoogleSTS,
	}
}

// Federated are registries that the federated identity itself may read.
func (g GoogleRegistries) Federated(cloud *fakecloud.Cloud, id Identity, number int) Source {
	provider, principal := g.pool(cloud, id, number)
	source := g.source(cloud, id, "Google Artifact Registry", principal)
	source.Entry.GoogleArtifactRegistry.WorkloadIdentityProvider = provider
	return source
}

// Impersonated are ones that a Google service account may read, which the
// federated identity impersonates by way of a delegate.
func (g GoogleRegistries) Impersonated(cloud *fakecloud.Cloud, id Identity, number int) Source {
	provider, principal := g.pool(cloud, id, number)
	delegate := fmt.Sprintf("delegate@project-%d.iam.gserviceaccount.com", number)
	reader := fmt.Sprintf("reader@project-%d.iam.gserviceaccount.com", number)
	cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{
		Email: delegate, WorkloadIdentityUsers: []string{principal}, TokenCreators: []string{principal},
	})
	cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: reader, TokenCreators: []string{"serviceAccount:" + delegate}})
	source := g.source(cloud, id, "Google Artifact Registry by impersonation", "serviceAccount:"+reader)
	entry := source.Entry.GoogleArtifactRegistry
	entry.WorkloadIdentityProvider, entry.GoogleServiceAccount, entry.Delegates = provider, reader, []string{delegate}
	return source
}

// registryOf is a registry of Google's own cloud that no other number has.
func registryOf(location string, number int) GoogleRegistries {
	return GoogleRegistries{Hosts: []string{fmt.Sprintf("%s%d-docker.pkg.dev", location, number)}}
}

// ArtifactRegistry is [GoogleRegistries.Federated] of one registry of Google's
// own cloud.
func ArtifactRegistry(cloud *fakecloud.Cloud, id Identity, number int) Source {
	return registryOf("europe-west", number).Federated(cloud, id, number)
}

// ArtifactRegistryImpersonated is [GoogleRegistries.Impersonated] of one
// registry of Google's own cloud.
func ArtifactRegistryImpersonated(cloud *fakecloud.Cloud, id Identity, number int) Source {
	return registryOf("us-west", number).Impersonated(cloud, id, number)
}

// ArtifactRegistryGKE is one that the identity of a GKE cluster's own pool may
// read through a Google service account.
func ArtifactRegistryGKE(cloud *fakecloud.Cloud, id Identity, number int) Source {
	project := fmt.Sprintf("gke-%05d", number) // an ID has six characters at least
	name := "projects/" + project + "/locations/europe-west1/clusters/main"
	cloud.AddGKECluster(name, id.Issuer)
	reader := fmt.Sprintf("reader@%s.iam.gserviceaccount.com", project)
	member := fmt.Sprintf("serviceAccount:%s.svc.id.goog[%s/%s]", project, id.Namespace, id.Name)
	cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: reader, WorkloadIdentityUsers: []string{member}})
	source := registryOf("asia-east", number).source(cloud, id, "Google Artifact Registry by a GKE cluster's identity", "serviceAccount:"+reader)
	entry := source.Entry.GoogleArtifactRegistry
	entry.GKECluster, entry.GoogleServiceAccount = name, reader
	return source
}
