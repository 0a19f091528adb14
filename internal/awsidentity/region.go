package awsidentity

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/imagepullsecrets/operator/internal/exchange"
)

// Variant is a kind of endpoint.
type Variant struct{ FIPS, DualStack bool }

// String names the variant as a person would set it.
func (v Variant) String() string {
	switch {
	case v.FIPS && v.DualStack:
		return "useFIPS with useDualStack"
	case v.FIPS:
		return "useFIPS"
	case v.DualStack:
		return "useDualStack"
	default:
		return "standard"
	}
}

// FIPSState is the variant as the SDK's options have it.
func (v Variant) FIPSState() aws.FIPSEndpointState {
	if v.FIPS {
		return aws.FIPSEndpointStateEnabled
	}
	return aws.FIPSEndpointStateDisabled
}

// DualStackState is the variant as the SDK's options have it.
func (v Variant) DualStackState() aws.DualStackEndpointState {
	if v.DualStack {
		return aws.DualStackEndpointStateEnabled
	}
	return aws.DualStackEndpointStateDisabled
}

// Region is where AWS is called, by the SDK's tables: there is no copy of them
// here to go stale. The zero Region stands for one that is unknown.
type Region struct {
	Name string
	// Variant is the kind of endpoints that are called.
	Variant Variant
	// Partition is the region's as it stands in ARNs.
	Partition string
	// STSHost is the host of the security token service.
	STSHost string
}

// regionPattern is wide enough for regions to come; which regions there are is
// the SDK's business.
var regionPattern = regexp.MustCompile(`^[a-z]{2,8}(-[a-z]{2,16}){1,3}-[0-9]{1,2}$`)

// FindRegion looks a region up. The error is a message for a person.
func FindRegion(name string, variant Variant) (Region, error) {
	return findRegion(sdkTables, strings.TrimSpace(name), variant)
}

// tables answer what the SDK knows about a region.
type tables struct {
	partition func(region string) (string, error)
	stsHost   func(region string, v Variant) (string, error)
}

// sdkTables are those that the SDK's clients use themselves.
var sdkTables = tables{
	partition: func(region string) (string, error) {
		// The rule sets that the clients follow don't tell the partition's
		// name; the older tables beside them do.
		endpoint, err := sts.NewDefaultEndpointResolver().ResolveEndpoint(region, sts.EndpointResolverOptions{})
		return endpoint.PartitionID, err
	},
	stsHost: func(region string, v Variant) (string, error) {
		endpoint, err := sts.NewDefaultEndpointResolverV2().ResolveEndpoint(context.Background(), sts.EndpointParameters{
			Region: aws.String(region), UseFIPS: aws.Bool(v.FIPS), UseDualStack: aws.Bool(v.DualStack),
		})
		return endpoint.URI.Host, err
	},
}

func findRegion(known tables, name string, variant Variant) (Region, error) {
	switch {
	case name == "":
		return Region{}, fmt.Errorf("region is empty")
	case !regionPattern.MatchString(name):
		return Region{}, fmt.Errorf("region must match %s, such as eu-central-1, not %s", regionPattern, exchange.Shown(name))
	case strings.HasPrefix(name, "fips-"):
		// The SDK would take it for a region with FIPS switched on, and the
		// registry's host would be wrong.
		return Region{}, fmt.Errorf("region must be a region's plain name, not %s: set useFIPS instead", exchange.Shown(name))
	}
	partition, err := known.partition(name)
	if err != nil {
		return Region{}, fmt.Errorf("region %q is unknown: %w", name, err)
	}
	host, err := known.stsHost(name, variant)
	if err != nil {
		return Region{}, fmt.Errorf("region %q has no %s endpoint for STS: %w", name, variant, err)
	}
	return Region{Name: name, Variant: variant, Partition: partition, STSHost: host}, nil
}
