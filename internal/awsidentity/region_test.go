package awsidentity

import (
	"errors"
	"strings"
	"testing"
)

// regions has at least one of each partition.
var regions = map[string]struct {
	name    string
	variant Variant
	want    Region
}{
	"commercial":                 {"eu-central-1", Variant{}, Region{Partition: "aws", STSHost: "sts.eu-central-1.amazonaws.com"}},
	"commercial with FIPS":       {"us-east-1", Variant{FIPS: true}, Region{Partition: "aws", STSHost: "sts-fips.us-east-1.amazonaws.com"}},
	"commercial with dual-stack": {"us-east-1", Variant{DualStack: true}, Region{Partition: "aws", STSHost: "sts.us-east-1.api.aws"}},
	"commercial with both":       {"us-west-2", Variant{true, true}, Region{Partition: "aws", STSHost: "sts-fips.us-west-2.api.aws"}},
	"a recent region":            {"mx-central-1", Variant{}, Region{Partition: "aws", STSHost: "sts.mx-central-1.amazonaws.com"}},
	"a region to come":           {"xy-southwest-12", Variant{}, Region{Partition: "aws", STSHost: "sts.xy-southwest-12.amazonaws.com"}},
	"China":                      {"cn-north-1", Variant{}, Region{Partition: "aws-cn", STSHost: "sts.cn-north-1.amazonaws.com.cn"}},
	"GovCloud":                   {"us-gov-west-1", Variant{}, Region{Partition: "aws-us-gov", STSHost: "sts.us-gov-west-1.amazonaws.com"}},
	"European sovereign":         {"eusc-de-east-1", Variant{}, Region{Partition: "aws-eusc", STSHost: "sts.eusc-de-east-1.amazonaws.eu"}},
	"isolated":                   {"us-iso-east-1", Variant{}, Region{Partition: "aws-iso", STSHost: "sts.us-iso-east-1.c2s.ic.gov"}},
	"isolated B with FIPS":       {"us-isob-east-1", Variant{FIPS: true}, Region{Partition: "aws-iso-b", STSHost: "sts-fips.us-isob-east-1.sc2s.sgov.gov"}},
	"isolated E":                 {"eu-isoe-west-1", Variant{}, Region{Partition: "aws-iso-e", STSHost: "sts.eu-isoe-west-1.cloud.adc-e.uk"}},
	"isolated F":                 {"us-isof-south-1", Variant{}, Region{Partition: "aws-iso-f", STSHost: "sts.us-isof-south-1.csp.hci.ic.gov"}},
}

func TestFindRegion(t *testing.T) {
	for name, test := range regions {
		t.Run(name, func(t *testing.T) {
			got, err := FindRegion(" "+test.name+"\n", test.variant)
			test.want.Name, test.want.Variant = test.name, test.variant
			if err != nil || got != test.want {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, test.want)
			}
		})
	}
}

func TestFindRegionRefuses(t *testing.T) {
	for name, test := range map[string]struct{ region, want string }{
		"nothing":                   {" \n", "region is empty"},
		"capitals":                  {"EU-Central-1", `such as eu-central-1, not "EU-Central-1"`},
		"a zone":                    {"eu-central-1a", `not "eu-central-1a"`},
		"what names a host":         {"eu-central-1.evil.example/", `not "eu-central-1.evil.example/"`},
		"what has no number":        {"aws-global", `not "aws-global"`},
		"a region that is FIPS":     {"fips-us-east-1", "set useFIPS instead"},
		"what may be a secret":      {strings.Repeat("planted", 6), "not a value of 42 characters"},
		"a region on a second line": {"x\neu-central-1", `not "x\neu-central-1"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := FindRegion(test.region, Variant{})
			if err == nil || !strings.Contains(err.Error(), test.want) || got != (Region{}) {
				t.Errorf("got %+v, %v; want %q", got, err, test.want)
			}
		})
	}
}

func TestARegionWithoutSuchEndpointsIsTold(t *testing.T) {
	missing := errors.New("FIPS is enabled but this partition does not support FIPS")
	for name, test := range map[string]struct {
		change func(*tables)
		want   string
	}{
		"an unknown region": {func(k *tables) { k.partition = func(string) (string, error) { return "", missing } }, `region "eu-central-1" is unknown`},
		"no STS endpoint":   {func(k *tables) { k.stsHost = func(string, Variant) (string, error) { return "", missing } }, `region "eu-central-1" has no useFIPS with useDualStack endpoint for STS: FIPS is enabled but`},
	} {
		t.Run(name, func(t *testing.T) {
			known := sdkTables
			test.change(&known)
			if _, err := findRegion(known, "eu-central-1", Variant{true, true}); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestVariantsAreNamedAsTheyAreSet(t *testing.T) {
	for variant, want := range map[Variant]string{
		{}: "standard", {FIPS: true}: "useFIPS", {DualStack: true}: "useDualStack", {true, true}: "useFIPS with useDualStack",
	} {
		if got := variant.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
