package integration

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
)

// placed is a source of a cloud, or a kind of endpoint, that most people don't
// have. In hosts, * is the first label of the source's registry: the account of
// ECR, the name that Azure's registries have.
type placed struct {
	source func(*fakecloud.Cloud, federation.Identity, int) federation.Source
	// registries are those that the login opens.
	registries []string
	// asked are the hosts that an exchange asks.
	asked []string
}

var (
	ningxia    = federation.AWSRegion{Partition: "aws-cn", Name: "cn-northwest-1", Domain: "amazonaws.com.cn"}
	govCloud   = federation.AWSRegion{Partition: "aws-us-gov", Name: "us-gov-west-1", Domain: "amazonaws.com"}
	commercial = federation.AWSRegion{Partition: "aws", Name: "us-east-2", Domain: "amazonaws.com"}
	s3ns       = federation.GoogleRegistries{Universe: "s3nsapis.fr", Hosts: []string{"docker.s3nsregistry.fr", "u-france-east1-docker.s3nsregistry.fr"}}
)

// by is a region by other endpoints than the usual ones.
func by(region federation.AWSRegion, fips, dualStack bool) federation.AWSRegion {
	region.FIPS, region.DualStack = fips, dualStack
	return region
}

var placedSources = map[string]placed{
	"ECR in China": {
		federation.AWSRegion{Partition: "aws-cn", Name: "cn-north-1", Domain: "amazonaws.com.cn"}.ECR,
		[]string{"*.dkr.ecr.cn-north-1.amazonaws.com.cn"},
		[]string{"sts.cn-north-1.amazonaws.com.cn", "api.ecr.cn-north-1.amazonaws.com.cn"},
	},
	"ECR in China through a chain of roles": {
		ningxia.ECRChained,
		[]string{"*.dkr.ecr.cn-northwest-1.amazonaws.com.cn"},
		[]string{"sts.cn-northwest-1.amazonaws.com.cn", "api.ecr.cn-northwest-1.amazonaws.com.cn"},
	},
	"ECR in China by dual-stack endpoints": {
		by(ningxia, false, true).ECR,
		[]string{"*.dkr.ecr.cn-northwest-1.amazonaws.com.cn", "*.dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn"},
		[]string{"sts.cn-northwest-1.api.amazonwebservices.com.cn", "ecr.cn-northwest-1.api.amazonwebservices.com.cn"},
	},
	"ECR in GovCloud": {
		govCloud.ECR,
		[]string{"*.dkr.ecr.us-gov-west-1.amazonaws.com"},
		[]string{"sts.us-gov-west-1.amazonaws.com", "api.ecr.us-gov-west-1.amazonaws.com"},
	},
	"ECR in GovCloud by FIPS endpoints, of which STS has no others there": {
		by(govCloud, true, false).ECR,
		[]string{"*.dkr.ecr.us-gov-west-1.amazonaws.com", "*.dkr.ecr-fips.us-gov-west-1.amazonaws.com"},
		[]string{"sts.us-gov-west-1.amazonaws.com", "api.ecr-fips.us-gov-west-1.amazonaws.com"},
	},
	"ECR in GovCloud by dual-stack FIPS endpoints": {
		by(govCloud, true, true).ECRChained,
		[]string{
			"*.dkr.ecr.us-gov-west-1.amazonaws.com", "*.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
			"*.dkr-ecr.us-gov-west-1.on.aws", "*.dkr-ecr-fips.us-gov-west-1.on.aws",
		},
		[]string{"sts-fips.us-gov-west-1.api.aws", "ecr-fips.us-gov-west-1.api.aws"},
	},
	"ECR in the European sovereign cloud": {
		federation.AWSRegion{Partition: "aws-eusc", Name: "eusc-de-east-1", Domain: "amazonaws.eu"}.ECR,
		[]string{"*.dkr.ecr.eusc-de-east-1.amazonaws.eu"},
		[]string{"sts.eusc-de-east-1.amazonaws.eu", "api.ecr.eusc-de-east-1.amazonaws.eu"},
	},
	"ECR in an isolated partition": {
		federation.AWSRegion{Partition: "aws-iso", Name: "us-iso-east-1", Domain: "c2s.ic.gov"}.ECR,
		[]string{"*.dkr.ecr.us-iso-east-1.c2s.ic.gov"},
		[]string{"sts.us-iso-east-1.c2s.ic.gov", "api.ecr.us-iso-east-1.c2s.ic.gov"},
	},
	"ECR by FIPS endpoints": {
		by(commercial, true, false).ECR,
		[]string{"*.dkr.ecr.us-east-2.amazonaws.com", "*.dkr.ecr-fips.us-east-2.amazonaws.com"},
		[]string{"sts-fips.us-east-2.amazonaws.com", "api.ecr-fips.us-east-2.amazonaws.com"},
	},
	"ECR by dual-stack endpoints": {
		by(commercial, false, true).ECR,
		[]string{"*.dkr.ecr.us-east-2.amazonaws.com", "*.dkr-ecr.us-east-2.on.aws"},
		[]string{"sts.us-east-2.api.aws", "ecr.us-east-2.api.aws"},
	},
	"ECR by dual-stack FIPS endpoints": {
		by(commercial, true, true).ECR,
		[]string{
			"*.dkr.ecr.us-east-2.amazonaws.com", "*.dkr.ecr-fips.us-east-2.amazonaws.com",
			"*.dkr-ecr.us-east-2.on.aws", "*.dkr-ecr-fips.us-east-2.on.aws",
		},
		[]string{"sts-fips.us-east-2.api.aws", "ecr-fips.us-east-2.api.aws"},
	},
	"Azure in China": { // whose directory has two names: this is that of Azure's SDKs
		federation.AzureCloud{Name: v1alpha1.AzureChina, Authority: "login.chinacloudapi.cn", Domain: "azurecr.cn"}.ContainerRegistry,
		[]string{"*.azurecr.cn"},
		[]string{"login.chinacloudapi.cn", "*.azurecr.cn"},
	},
	"Azure for the government of the USA": {
		federation.AzureCloud{Name: v1alpha1.AzureUSGovernment, Authority: "login.microsoftonline.us", Domain: "azurecr.us"}.ContainerRegistry,
		[]string{"*.azurecr.us"},
		[]string{"login.microsoftonline.us", "*.azurecr.us"},
	},
	"gcr.io in all its locations": {
		federation.GoogleRegistries{Hosts: []string{"gcr.io", "us.gcr.io", "eu.gcr.io", "asia.gcr.io"}}.Federated,
		[]string{"gcr.io", "us.gcr.io", "eu.gcr.io", "asia.gcr.io"},
		[]string{"sts.googleapis.com"},
	},
	"Google by impersonation, for gcr.io and a regional endpoint": {
		federation.GoogleRegistries{Hosts: []string{"eu.gcr.io", "docker.europe-west3.rep.pkg.dev"}}.Impersonated,
		[]string{"eu.gcr.io", "docker.europe-west3.rep.pkg.dev"},
		[]string{"sts.googleapis.com", "iamcredentials.googleapis.com"},
	},
	"Google in a universe of its own": {
		s3ns.Federated,
		[]string{"docker.s3nsregistry.fr", "u-france-east1-docker.s3nsregistry.fr"},
		[]string{"sts.s3nsapis.fr"},
	},
	"Google in a universe of its own by impersonation": {
		s3ns.Impersonated,
		[]string{"docker.s3nsregistry.fr", "u-france-east1-docker.s3nsregistry.fr"},
		[]string{"sts.s3nsapis.fr", "iamcredentials.s3nsapis.fr"},
	},
	"Google in a universe named as those of its partners": {
		federation.GoogleRegistries{Universe: "apis-berlin.goog", Hosts: []string{"u-germany-northeast1-docker.pkg-berlin.goog"}}.Federated,
		[]string{"u-germany-northeast1-docker.pkg-berlin.goog"},
		[]string{"sts.apis-berlin.goog"},
	},
}

// Each cloud is asked under its own hosts and no others, which is told for certain
// only where nothing else asks: of a cloud that one operator has for itself.
func TestSourcesOfEveryCloudInAClusterOfTheirOwn(t *testing.T) {
	own := ownCluster(t, withAllRights)
	cloud := ownCloud(t, fakecloud.Options{})
	if err := federation.TrustCluster(cloud, own); err != nil {
		t.Fatal(err)
	}
	runOperator(t, own)
	id := identity(t)
	for sentence, placed := range placedSources {
		t.Run(sentence, func(t *testing.T) {
			source := placed.source(cloud, id, number())
			registries, asked := named(source, placed.registries), named(source, placed.asked)
			label := unique("label")
			selected, before := namespace(t, label, "yes"), cloud.CallsByHost()
			imps := object(t, "pull", label, source.Entry)
			expectReady(t, imps.Name, 1)
			secret := expectSecret(t, selected, "pull", registries...)
			if diff := cmp.Diff(asked, askedSince(cloud, before)); diff != "" {
				t.Errorf("asked hosts (-want +got):\n%s", diff)
			}
			for _, registry := range registries {
				if err := pull(t.Context(), secret, registry); err != nil {
					t.Errorf("pulling from %s: %v", registry, err)
				}
			}
		})
	}
}

// named puts the first label of a source's registry into hosts, and sorts them.
func named(source federation.Source, hosts []string) []string {
	name, _, _ := strings.Cut(source.Registry, ".")
	made := make([]string, 0, len(hosts))
	for _, host := range hosts {
		made = append(made, strings.Replace(host, "*", name, 1))
	}
	slices.Sort(made)
	return made
}

// askedSince returns the hosts that were asked after the calls before, sorted.
func askedSince(cloud *fakecloud.Cloud, before map[string]int) []string {
	after := cloud.CallsByHost()
	maps.DeleteFunc(after, func(host string, calls int) bool { return calls == before[host] })
	return slices.Sorted(maps.Keys(after))
}
