package ecr

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// endpoints are the hosts that belong to a region, all by the SDK's tables:
// there is no copy of them here to go stale.
type endpoints struct {
	// partition is the region's partition as it stands in ARNs.
	partition string
	// ecr and sts are the hosts that an exchange connects to.
	ecr, sts string
	// registrySuffixes follow an account's ID in the registry's hosts.
	registrySuffixes []string
}

// registries returns the hosts of an account's registry.
func (e endpoints) registries(accountID string) []string {
	hosts := make([]string, 0, len(e.registrySuffixes))
	for _, suffix := range e.registrySuffixes {
		hosts = append(hosts, accountID+"."+suffix)
	}
	return hosts
}

// variant is a kind of endpoint.
type variant struct{ fips, dualStack bool }

// String names the variant as a person would set it.
func (v variant) String() string {
	switch {
	case v.fips && v.dualStack:
		return "useFIPS with useDualStack"
	case v.fips:
		return "useFIPS"
	case v.dualStack:
		return "useDualStack"
	default:
		return "standard"
	}
}

// registryLabels are what stands between account and region in the name of a
// registry. No table of the SDK has them, as the SDK never calls a registry.
func (v variant) registryLabels() string {
	labels := "dkr.ecr"
	if v.dualStack {
		labels = "dkr-ecr"
	}
	if v.fips {
		labels += "-fips"
	}
	return labels
}

// resolver answers what the SDK knows about a region.
type resolver struct {
	partition func(region string) (string, error)
	ecrHost   func(region string, v variant) (string, error)
	stsHost   func(region string, v variant) (string, error)
}

// sdkResolver reads the tables that the SDK's clients use themselves.
var sdkResolver = resolver{
	partition: func(region string) (string, error) {
		// The rule sets that the clients follow don't tell the partition's
		// name; the older tables beside them do.
		endpoint, err := ecr.NewDefaultEndpointResolver().ResolveEndpoint(region, ecr.EndpointResolverOptions{})
		return endpoint.PartitionID, err
	},
	ecrHost: func(region string, v variant) (string, error) {
		endpoint, err := ecr.NewDefaultEndpointResolverV2().ResolveEndpoint(context.Background(), ecr.EndpointParameters{
			Region: aws.String(region), UseFIPS: aws.Bool(v.fips), UseDualStack: aws.Bool(v.dualStack),
		})
		return endpoint.URI.Host, err
	},
	stsHost: func(region string, v variant) (string, error) {
		endpoint, err := sts.NewDefaultEndpointResolverV2().ResolveEndpoint(context.Background(), sts.EndpointParameters{
			Region: aws.String(region), UseFIPS: aws.Bool(v.fips), UseDualStack: aws.Bool(v.dualStack),
		})
		return endpoint.URI.Host, err
	},
}

// findEndpoints looks a region up. The error is a message for a person.
func findEndpoints(resolve resolver, region string, fips, dualStack bool) (endpoints, error) {
	partition, err := resolve.partition(region)
	if err != nil {
		return endpoints{}, fmt.Errorf("region %q is unknown: %w", region, err)
	}
	found := endpoints{partition: partition}
	used := variant{fips: fips, dualStack: dualStack}
	if found.ecr, err = resolve.ecrHost(region, used); err != nil {
		return endpoints{}, fmt.Errorf("region %q has no %s endpoint for ECR: %w", region, used, err)
	}
	if found.sts, err = resolve.stsHost(region, used); err != nil {
		return endpoints{}, fmt.Errorf("region %q has no %s endpoint for STS: %w", region, used, err)
	}
	for _, v := range registryVariants(used) {
		suffix, err := registrySuffix(resolve, region, v)
		if err != nil {
			return endpoints{}, err
		}
		found.registrySuffixes = append(found.registrySuffixes, suffix)
	}
	return found, nil
}

// registryVariants returns the variants whose hosts get the login. One token
// opens them all, and images are named by any of them.
func registryVariants(used variant) []variant {
	variants := []variant{{}}
	if used.fips {
		variants = append(variants, variant{fips: true})
	}
	if used.dualStack {
		variants = append(variants, variant{dualStack: true})
	}
	if used.fips && used.dualStack {
		variants = append(variants, used)
	}
	return variants
}

// registrySuffix derives what follows the account's ID in a registry's host
// from the host of the API, which stands in the same domain: the registry of
// api.ecr.R.amazonaws.com is dkr.ecr.R.amazonaws.com, that of ecr.R.api.aws
// is dkr-ecr.R.on.aws.
func registrySuffix(resolve resolver, region string, v variant) (string, error) {
	host, err := resolve.ecrHost(region, v)
	if err != nil {
		return "", fmt.Errorf("region %q has no %s endpoint for ECR: %w", region, v, err)
	}
	_, domain, ok := strings.Cut(host, "."+region+".")
	if ok && v.dualStack {
		domain, ok = strings.CutPrefix(domain, "api.")
		domain = "on." + domain
	}
	if !ok {
		return "", fmt.Errorf("region %q: the registry's host can't be told from the %s endpoint %q", region, v, host)
	}
	return v.registryLabels() + "." + region + "." + domain, nil
}
