package ecr

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/internal/awsidentity"
)

// hosts are what belongs to a region.
type hosts struct {
	api      string
	suffixes []string
}

// regions has at least one of each partition.
var regions = map[string]struct {
	region string
	use    awsidentity.Variant
	want   hosts
}{
	"commercial": {"eu-central-1", awsidentity.Variant{}, hosts{
		"api.ecr.eu-central-1.amazonaws.com",
		[]string{"dkr.ecr.eu-central-1.amazonaws.com"},
	}},
	"commercial with FIPS": {"us-east-1", awsidentity.Variant{FIPS: true}, hosts{
		"api.ecr-fips.us-east-1.amazonaws.com",
		[]string{"dkr.ecr.us-east-1.amazonaws.com", "dkr.ecr-fips.us-east-1.amazonaws.com"},
	}},
	"commercial with dual-stack": {"us-east-1", awsidentity.Variant{DualStack: true}, hosts{
		"ecr.us-east-1.api.aws",
		[]string{"dkr.ecr.us-east-1.amazonaws.com", "dkr-ecr.us-east-1.on.aws"},
	}},
	"commercial with both": {"us-west-2", awsidentity.Variant{FIPS: true, DualStack: true}, hosts{
		"ecr-fips.us-west-2.api.aws",
		[]string{
			"dkr.ecr.us-west-2.amazonaws.com", "dkr.ecr-fips.us-west-2.amazonaws.com",
			"dkr-ecr.us-west-2.on.aws", "dkr-ecr-fips.us-west-2.on.aws",
		},
	}},
	"a recent region": {"mx-central-1", awsidentity.Variant{}, hosts{
		"api.ecr.mx-central-1.amazonaws.com",
		[]string{"dkr.ecr.mx-central-1.amazonaws.com"},
	}},
	"a region to come": {"xy-southwest-12", awsidentity.Variant{}, hosts{
		"api.ecr.xy-southwest-12.amazonaws.com",
		[]string{"dkr.ecr.xy-southwest-12.amazonaws.com"},
	}},
	"China": {"cn-north-1", awsidentity.Variant{}, hosts{
		"api.ecr.cn-north-1.amazonaws.com.cn",
		[]string{"dkr.ecr.cn-north-1.amazonaws.com.cn"},
	}},
	"China with dual-stack": {"cn-northwest-1", awsidentity.Variant{DualStack: true}, hosts{
		"ecr.cn-northwest-1.api.amazonwebservices.com.cn",
		[]string{"dkr.ecr.cn-northwest-1.amazonaws.com.cn", "dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn"},
	}},
	"GovCloud": {"us-gov-east-1", awsidentity.Variant{}, hosts{
		"api.ecr.us-gov-east-1.amazonaws.com",
		[]string{"dkr.ecr.us-gov-east-1.amazonaws.com"},
	}},
	"GovCloud with both": {"us-gov-west-1", awsidentity.Variant{FIPS: true, DualStack: true}, hosts{
		"ecr-fips.us-gov-west-1.api.aws",
		[]string{
			"dkr.ecr.us-gov-west-1.amazonaws.com", "dkr.ecr-fips.us-gov-west-1.amazonaws.com",
			"dkr-ecr.us-gov-west-1.on.aws", "dkr-ecr-fips.us-gov-west-1.on.aws",
		},
	}},
	"European sovereign": {"eusc-de-east-1", awsidentity.Variant{}, hosts{
		"api.ecr.eusc-de-east-1.amazonaws.eu",
		[]string{"dkr.ecr.eusc-de-east-1.amazonaws.eu"},
	}},
	"European sovereign with dual-stack": {"eusc-de-east-1", awsidentity.Variant{DualStack: true}, hosts{
		"ecr.eusc-de-east-1.api.amazonwebservices.eu",
		[]string{"dkr.ecr.eusc-de-east-1.amazonaws.eu", "dkr-ecr.eusc-de-east-1.on.amazonwebservices.eu"},
	}},
	"isolated": {"us-iso-east-1", awsidentity.Variant{}, hosts{
		"api.ecr.us-iso-east-1.c2s.ic.gov",
		[]string{"dkr.ecr.us-iso-east-1.c2s.ic.gov"},
	}},
	"isolated B with FIPS": {"us-isob-east-1", awsidentity.Variant{FIPS: true}, hosts{
		"api.ecr-fips.us-isob-east-1.sc2s.sgov.gov",
		[]string{"dkr.ecr.us-isob-east-1.sc2s.sgov.gov", "dkr.ecr-fips.us-isob-east-1.sc2s.sgov.gov"},
	}},
	"isolated E": {"eu-isoe-west-1", awsidentity.Variant{}, hosts{
		"api.ecr.eu-isoe-west-1.cloud.adc-e.uk",
		[]string{"dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk"},
	}},
	"isolated F": {"us-isof-south-1", awsidentity.Variant{}, hosts{
		"api.ecr.us-isof-south-1.csp.hci.ic.gov",
		[]string{"dkr.ecr.us-isof-south-1.csp.hci.ic.gov"},
	}},
}

func TestHosts(t *testing.T) {
	const account = "111122223333."
	for name, test := range regions {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			config.Region, config.UseFIPS, config.UseDualStack = test.region, test.use.FIPS, test.use.DualStack
			provider := mustNew(t, config)
			if provider.Endpoints()[0] != test.want.api {
				t.Errorf("got %s, want %s", provider.Endpoints(), test.want.api)
			}
			var registries []string
			for _, suffix := range test.want.suffixes {
				registries = append(registries, account+suffix)
			}
			if diff := cmp.Diff(registries, provider.Registries()); diff != "" {
				t.Error(diff)
			}
			// What is a name of this registry is one of another account's, too.
			for _, suffix := range test.want.suffixes {
				config.Registries = append(config.Registries, "444455556666."+suffix)
			}
			if got := len(mustNew(t, config).Registries()); got != 2*len(registries) {
				t.Errorf("got %d registries of two accounts", got)
			}
		})
	}
}
