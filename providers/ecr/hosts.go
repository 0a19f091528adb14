package ecr

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/imagepullsecrets/operator/internal/awsidentity"
)

// endpoints are the hosts that belong to a region, all by the SDK's tables:
// there is no copy of them here to go stale.
type endpoints struct {
	region string
	// api is the host that an exchange connects to.
	api string
	// registrySuffixes follow the account's ID in the registry's hosts that
	// are written.
	registrySuffixes []string
	// known are the suffixes of all names that the region's registries have.
	known []string
}

// registries returns the hosts of an account's registry.
func (e endpoints) registries(accountID string) []string {
	hosts := make([]string, 0, len(e.registrySuffixes))
	for _, suffix := range e.registrySuffixes {
		hosts = append(hosts, accountID+"."+suffix)
	}
	return hosts
}

// registryLabels are what stands between account and region in the name of a
// registry. No table of the SDK has them, as the SDK never calls a registry.
func registryLabels(v awsidentity.Variant) string {
	labels := "dkr.ecr"
	if v.DualStack {
		labels = "dkr-ecr"
	}
	if v.FIPS {
		labels += "-fips"
	}
	return labels
}

// hostOf returns the host of ECR's API in a region.
type hostOf func(region string, v awsidentity.Variant) (string, error)

// sdkHost reads the table that the SDK's client uses itself.
func sdkHost(region string, v awsidentity.Variant) (string, error) {
	endpoint, err := ecr.NewDefaultEndpointResolverV2().ResolveEndpoint(context.Background(), ecr.EndpointParameters{
		Region: aws.String(region), UseFIPS: aws.Bool(v.FIPS), UseDualStack: aws.Bool(v.DualStack),
	})
	return endpoint.URI.Host, err
}

// variants are all kinds of endpoints, the standard one first.
var variants = []awsidentity.Variant{{}, {FIPS: true}, {DualStack: true}, {FIPS: true, DualStack: true}}

// findEndpoints looks a region up. The error is a message for a person.
func findEndpoints(host hostOf, region awsidentity.Region) (endpoints, error) {
	found := endpoints{region: region.Name}
	for _, v := range variants {
		api, suffix, err := findRegistry(host, region.Name, v)
		wanted := (region.Variant.FIPS || !v.FIPS) && (region.Variant.DualStack || !v.DualStack)
		switch {
		case err != nil && wanted:
			return endpoints{}, err
		case err != nil:
			continue // some partitions lack some kinds of endpoints
		}
		found.known = append(found.known, suffix)
		if wanted {
			// One token opens them all, and images are named by any of them.
			found.registrySuffixes = append(found.registrySuffixes, suffix)
		}
		if v == region.Variant {
			found.api = api
		}
	}
	return found, nil
}

// findRegistry returns the API's host and derives from it what follows the
// account's ID in a registry's host, which stands in the same domain: the
// registry of api.ecr.R.amazonaws.com is dkr.ecr.R.amazonaws.com, that of
// ecr.R.api.aws is dkr-ecr.R.on.aws.
func findRegistry(host hostOf, region string, v awsidentity.Variant) (api, suffix string, err error) {
	api, err = host(region, v)
	if err != nil {
		return "", "", fmt.Errorf("region %q has no %s endpoint for ECR: %w", region, v, err)
	}
	_, domain, ok := strings.Cut(api, "."+region+".")
	if ok && v.DualStack {
		domain, ok = strings.CutPrefix(domain, "api.")
		domain = "on." + domain
	}
	if !ok {
		return "", "", fmt.Errorf("region %q: the registry's host can't be told from the %s endpoint %q", region, v, api)
	}
	return api, registryLabels(v) + "." + region + "." + domain, nil
}
