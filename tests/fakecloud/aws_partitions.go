package fakecloud

import (
	"regexp"
	"strings"
)

// awsPartition is one of the isolated AWS clouds: an identity of one is unknown in
// all others.
type awsPartition struct {
	name     string
	regions  *regexp.Regexp
	suffix   string // of API and registry hosts
	dual     string // of dual-stack API hosts
	registry string // of dual-stack registry hosts; empty: the partition has none
}

// awsPartitions is written down here, not taken from the SDK, so that a client
// built on the SDK meets an independent reading of the host names.
var awsPartitions = []awsPartition{
	{"aws", regexp.MustCompile(`^(us|eu|ap|sa|ca|me|af|il|mx)-\w+-\d+$`), "amazonaws.com", "api.aws", "on.aws"},
	{"aws-cn", regexp.MustCompile(`^cn-\w+-\d+$`), "amazonaws.com.cn", "api.amazonwebservices.com.cn", "on.amazonwebservices.com.cn"},
	{"aws-us-gov", regexp.MustCompile(`^us-gov-\w+-\d+$`), "amazonaws.com", "api.aws", "on.aws"},
	{"aws-eusc", regexp.MustCompile(`^eusc-de-\w+-\d+$`), "amazonaws.eu", "api.amazonwebservices.eu", ""},
	{"aws-iso", regexp.MustCompile(`^us-iso-\w+-\d+$`), "c2s.ic.gov", "api.aws.ic.gov", ""},
	{"aws-iso-b", regexp.MustCompile(`^us-isob-\w+-\d+$`), "sc2s.sgov.gov", "api.aws.scloud", ""},
	{"aws-iso-e", regexp.MustCompile(`^eu-isoe-\w+-\d+$`), "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk", ""},
	{"aws-iso-f", regexp.MustCompile(`^us-isof-\w+-\d+$`), "csp.hci.ic.gov", "api.aws.hci.ic.gov", ""},
}

// awsEndpoint is where a request to an AWS API arrived: what its signature must be
// scoped to, and whose identities count there.
type awsEndpoint struct {
	service   string // the signing name
	region    string
	partition awsPartition
}

// stsGlobalHost is the one AWS host here that names no region.
const stsGlobalHost = "sts.amazonaws.com"

// stsEndpoint reads the host name of a security token service.
func stsEndpoint(host string) (awsEndpoint, bool) {
	if host == stsGlobalHost {
		return awsEndpoint{service: "sts", region: "us-east-1", partition: awsPartitions[0]}, true
	}
	for _, p := range awsPartitions {
		for _, prefix := range []string{"sts.", "sts-fips."} {
			for _, suffix := range []string{p.suffix, p.dual} {
				if region, ok := p.regionIn(host, prefix, suffix); ok {
					return awsEndpoint{service: "sts", region: region, partition: p}, true
				}
			}
		}
	}
	return awsEndpoint{}, false
}

// ecrEndpoint reads the host name of the API of a container registry. The FIPS
// and the dual-stack forms drop the "api." that the plain one has.
func ecrEndpoint(host string) (awsEndpoint, bool) {
	for _, p := range awsPartitions {
		for _, form := range []struct{ prefix, suffix string }{
			{"api.ecr.", p.suffix},
			{"api.ecr-fips.", p.suffix},
			{"ecr-fips.", p.suffix},
			{"ecr.", p.dual},
			{"ecr-fips.", p.dual},
		} {
			if region, ok := p.regionIn(host, form.prefix, form.suffix); ok {
				return awsEndpoint{service: "ecr", region: region, partition: p}, true
			}
		}
	}
	return awsEndpoint{}, false
}

// ecrRegistry is the registry of one account in one region, under whichever of
// its host names.
type ecrRegistry struct {
	account string
	region  string
}

// parseECRRegistry reads the host name of a registry of ECR.
func parseECRRegistry(host string) (ecrRegistry, bool) {
	account, rest, ok := strings.Cut(host, ".")
	if !ok || !isAccountID(account) {
		return ecrRegistry{}, false
	}
	for _, p := range awsPartitions {
		forms := []struct{ prefix, suffix string }{{"dkr.ecr.", p.suffix}, {"dkr.ecr-fips.", p.suffix}}
		if p.registry != "" {
			forms = append(forms, []struct{ prefix, suffix string }{{"dkr-ecr.", p.registry}, {"dkr-ecr-fips.", p.registry}}...)
		}
		for _, form := range forms {
			if region, ok := p.regionIn(rest, form.prefix, form.suffix); ok {
				return ecrRegistry{account: account, region: region}, true
			}
		}
	}
	return ecrRegistry{}, false
}

// regionIn returns what stands between prefix and suffix if it is a region of p.
func (p awsPartition) regionIn(host, prefix, suffix string) (string, bool) {
	rest, hasPrefix := strings.CutPrefix(host, prefix)
	region, hasSuffix := strings.CutSuffix(rest, "."+suffix)
	return region, hasPrefix && hasSuffix && p.regions.MatchString(region)
}

var accountID = regexp.MustCompile(`^\d{12}$`)

func isAccountID(s string) bool { return accountID.MatchString(s) }
