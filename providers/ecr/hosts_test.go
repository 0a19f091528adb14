package ecr

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// regions has at least one of each partition.
var regions = map[string]struct {
	region string
	use    variant
	want   endpoints
}{
	"commercial": {"eu-central-1", variant{}, endpoints{
		"aws", "api.ecr.eu-central-1.amazonaws.com", "sts.eu-central-1.amazonaws.com",
		[]string{"dkr.ecr.eu-central-1.amazonaws.com"},
	}},
	"commercial with FIPS": {"us-east-1", variant{fips: true}, endpoints{
		"aws", "api.ecr-fips.us-east-1.amazonaws.com", "sts-fips.us-east-1.amazonaws.com",
		[]string{"dkr.ecr.us-east-1.amazonaws.com", "dkr.ecr-fips.us-east-1.amazonaws.com"},
	}},
	"commercial with dual-stack": {"us-east-1", variant{dualStack: true}, endpoints{
		"aws", "ecr.us-east-1.api.aws", "sts.us-east-1.api.aws",
		[]string{"dkr.ecr.us-east-1.amazonaws.com", "dkr-ecr.us-east-1.on.aws"},
	}},
	"commercial with both": {"us-west-2", variant{true, true}, endpoints{
		"aws", "ecr-fips.us-west-2.api.aws", "sts-fips.us-west-2.api.aws",
		[]string{
			"dkr.ecr.us-west-2.amazonaws.com", "dkr.ecr-fips.us-west-2.amazonaws.com",
			"dkr-ecr.us-west-2.on.aws", "dkr-ecr-fips.us-west-2.on.aws",
		},
	}},
	"a recent region": {"mx-central-1", variant{}, endpoints{
		"aws", "api.ecr.mx-central-1.amazonaws.com", "sts.mx-central-1.amazonaws.com",
		[]string{"dkr.ecr.mx-central-1.amazonaws.com"},
	}},
	"a region to come": {"xy-southwest-12", variant{}, endpoints{
		"aws", "api.ecr.xy-southwest-12.amazonaws.com", "sts.xy-southwest-12.amazonaws.com",
		[]string{"dkr.ecr.xy-southwest-12.amazonaws.com"},
	}},
	"China": {"cn-north-1", variant{}, endpoints{
		"aws-cn", "api.ecr.cn-north-1.amazonaws.com.cn", "sts.cn-north-1.amazonaws.com.cn",
		[]string{"dkr.ecr.cn-north-1.amazonaws.com.cn"},
	}},
	"China with dual-stack": {"cn-northwest-1", variant{dualStack: true}, endpoints{
		"aws-cn", "ecr.cn-northwest-1.api.amazonwebservices.com.cn", "sts.cn-northwest-1.api.amazonwebservices.com.cn",
		[]string{"dkr.ecr.cn-northwest-1.amazonaws.com.cn", "dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn"},
	}},
	"GovCloud": {"us-gov-east-1", variant{}, endpoints{
		"aws-us-gov", "api.ecr.us-gov-east-1.amazonaws.com", "sts.us-gov-east-1.amazonaws.com",
		[]string{"dkr.ecr.us-gov-east-1.amazonaws.com"},
	}},
	"GovCloud with both": {"us-gov-west-1", variant{true, true}, endpoints{
		"aws-us-gov", "ecr-fips.us-gov-west-1.api.aws", "sts-fips.us-gov-west-1.api.aws",
		[]string{
			"dkr.ecr.us-gov-west-1.amazonaws.com", "dkr.ecr-fips.us-gov-west-1.amazonaws.com",
			"dkr-ecr.us-gov-west-1.on.aws", "dkr-ecr-fips.us-gov-west-1.on.aws",
		},
	}},
	"European sovereign": {"eusc-de-east-1", variant{}, endpoints{
		"aws-eusc", "api.ecr.eusc-de-east-1.amazonaws.eu", "sts.eusc-de-east-1.amazonaws.eu",
		[]string{"dkr.ecr.eusc-de-east-1.amazonaws.eu"},
	}},
	"European sovereign with dual-stack": {"eusc-de-east-1", variant{dualStack: true}, endpoints{
		"aws-eusc", "ecr.eusc-de-east-1.api.amazonwebservices.eu", "sts.eusc-de-east-1.api.amazonwebservices.eu",
		[]string{"dkr.ecr.eusc-de-east-1.amazonaws.eu", "dkr-ecr.eusc-de-east-1.on.amazonwebservices.eu"},
	}},
	"isolated": {"us-iso-east-1", variant{}, endpoints{
		"aws-iso", "api.ecr.us-iso-east-1.c2s.ic.gov", "sts.us-iso-east-1.c2s.ic.gov",
		[]string{"dkr.ecr.us-iso-east-1.c2s.ic.gov"},
	}},
	"isolated B with FIPS": {"us-isob-east-1", variant{fips: true}, endpoints{
		"aws-iso-b", "api.ecr-fips.us-isob-east-1.sc2s.sgov.gov", "sts-fips.us-isob-east-1.sc2s.sgov.gov",
		[]string{"dkr.ecr.us-isob-east-1.sc2s.sgov.gov", "dkr.ecr-fips.us-isob-east-1.sc2s.sgov.gov"},
	}},
	"isolated E": {"eu-isoe-west-1", variant{}, endpoints{
		"aws-iso-e", "api.ecr.eu-isoe-west-1.cloud.adc-e.uk", "sts.eu-isoe-west-1.cloud.adc-e.uk",
		[]string{"dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk"},
	}},
	"isolated F": {"us-isof-south-1", variant{}, endpoints{
		"aws-iso-f", "api.ecr.us-isof-south-1.csp.hci.ic.gov", "sts.us-isof-south-1.csp.hci.ic.gov",
		[]string{"dkr.ecr.us-isof-south-1.csp.hci.ic.gov"},
	}},
}

func TestHosts(t *testing.T) {
	const account = "111122223333."
	for name, test := range regions {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			config.Region, config.UseFIPS, config.UseDualStack = test.region, test.use.fips, test.use.dualStack
			provider := mustNew(t, config)
			if diff := cmp.Diff(test.want, provider.endpoints, cmp.AllowUnexported(endpoints{})); diff != "" {
				t.Error(diff)
			}
			var registries []string
			for _, suffix := range test.want.registrySuffixes {
				registries = append(registries, account+suffix)
			}
			if diff := cmp.Diff(registries, provider.Registries()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
