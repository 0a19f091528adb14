package ecr

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/providers"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"everything empty is told at once": {
			func(c *Config) { *c = Config{} },
			[]string{"accessKeyID is empty", "secretKey is empty", "accountID is empty", "region is empty"},
		},
		"white space is empty":            {func(c *Config) { c.Region = " \n" }, []string{"region is empty"}},
		"an account with dashes":          {func(c *Config) { c.AccountID = "1111-2222-3333" }, []string{`accountID must match ^\d{12}$, not "1111-2222-3333"`}},
		"an account that lost its zero":   {func(c *Config) { c.AccountID = "11122223333" }, []string{`not "11122223333"`}},
		"an account with other digits":    {func(c *Config) { c.AccountID = "١١١١٢٢٢٢٣٣٣٣" }, []string{"accountID must match"}},
		"an account on two lines":         {func(c *Config) { c.AccountID = "111122223333\nx" }, []string{`not "111122223333\nx"`}},
		"a region in capitals":            {func(c *Config) { c.Region = "EU-Central-1" }, []string{`such as eu-central-1, not "EU-Central-1"`}},
		"a zone for a region":             {func(c *Config) { c.Region = "eu-central-1a" }, []string{`not "eu-central-1a"`}},
		"a region that names a host":      {func(c *Config) { c.Region = "eu-central-1.evil.example/" }, []string{`not "eu-central-1.evil.example/"`}},
		"a region without a number":       {func(c *Config) { c.Region = "aws-global" }, []string{`not "aws-global"`}},
		"a region that switches on FIPS":  {func(c *Config) { c.Region = "fips-us-east-1" }, []string{"set useFIPS instead"}},
		"a key in the place of its id":    {func(c *Config) { c.AccessKeyID = plantedSecret }, []string{"accessKeyID must match", "swapped with secretKey"}},
		"a temporary key":                 {func(c *Config) { c.AccessKeyID = "ASIA" + strings.Repeat("A", 16) }, []string{"temporary credentials", "use the access key of an IAM user"}},
		"white space in the secret":       {func(c *Config) { c.SecretAccessKey = "planted secret" }, []string{"secretKey contains white space"}},
		"a byte order mark in the secret": {func(c *Config) { c.SecretAccessKey = "\ufeff" + plantedSecret }, []string{"secretKey contains"}},
		"a role's name only":              {func(c *Config) { c.RoleARN = "pull" }, []string{"roleArn must be a role's ARN", `not "pull"`}},
		"a user's ARN":                    {func(c *Config) { c.RoleARN = "arn:aws:iam::111122223333:user/ci" }, []string{`not "arn:aws:iam::111122223333:user/ci"`}},
		"a session's ARN":                 {func(c *Config) { c.RoleARN = "arn:aws:sts::111122223333:assumed-role/pull/me" }, []string{"assumed-role/pull/me"}},
		"a role without an account":       {func(c *Config) { c.RoleARN = "arn:aws:iam:::role/pull" }, []string{"roleArn must be"}},
		"a role with a region":            {func(c *Config) { c.RoleARN = "arn:aws:iam:eu-central-1:111122223333:role/pull" }, []string{"roleArn must be"}},
		"a role without a name":           {func(c *Config) { c.RoleARN = "arn:aws:iam::111122223333:role/" }, []string{"roleArn must be"}},
		"a secret in the role's place":    {func(c *Config) { c.RoleARN = strings.Repeat("planted", 6) }, []string{"not a value of 42 characters"}},
		"a secret in the account's place": {func(c *Config) { c.AccountID = strings.Repeat("planted", 6) }, []string{"not a value of 42 characters"}},
		"a role of another partition": {
			func(c *Config) { c.RoleARN, c.Region = "arn:aws:iam::111122223333:role/pull", "cn-north-1" },
			[]string{`roleArn is of partition "aws", but region cn-north-1 is of partition aws-cn`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			test.change(&config)
			provider, err := New(config, nil)
			if provider != nil {
				t.Errorf("got a provider: %v", provider)
			}
			checkMessage(t, err, providers.Invalid, test.want)
			if strings.Contains(err.Error(), strings.Repeat("planted", 6)) {
				t.Errorf("%q tells the secret", err)
			}
		})
	}
}

func TestNewTakesRolesOfTheRegionsPartition(t *testing.T) {
	for name, test := range map[string]struct{ region, role string }{
		"commercial":         {"eu-central-1", "arn:aws:iam::111122223333:role/pull"},
		"a path":             {"eu-central-1", "arn:aws:iam::111122223333:role/team/a+b=c,d.e@f-g_h/pull"},
		"China":              {"cn-north-1", "arn:aws-cn:iam::111122223333:role/pull"},
		"GovCloud":           {"us-gov-west-1", "arn:aws-us-gov:iam::111122223333:role/pull"},
		"European sovereign": {"eusc-de-east-1", "arn:aws-eusc:iam::111122223333:role/pull"},
		"isolated":           {"us-isob-east-1", "arn:aws-iso-b:iam::111122223333:role/pull"},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			config.Region, config.RoleARN = test.region, test.role
			if _, err := New(config, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNewSaysThatARegionHasNoSuchEndpoints(t *testing.T) {
	missing := errors.New("FIPS is enabled but this partition does not support FIPS")
	for name, test := range map[string]struct {
		change func(*resolver)
		want   string
	}{
		"an unknown region": {func(r *resolver) { r.partition = func(string) (string, error) { return "", missing } }, `region "eu-central-1" is unknown`},
		"no ECR endpoint":   {func(r *resolver) { r.ecrHost = func(string, variant) (string, error) { return "", missing } }, `region "eu-central-1" has no useFIPS with useDualStack endpoint for ECR: FIPS is enabled but`},
		"no STS endpoint":   {func(r *resolver) { r.stsHost = func(string, variant) (string, error) { return "", missing } }, `region "eu-central-1" has no useFIPS with useDualStack endpoint for STS`},
		"no plain FIPS endpoint": {func(r *resolver) {
			known := r.ecrHost
			r.ecrHost = func(region string, v variant) (string, error) {
				if v == (variant{fips: true}) {
					return "", missing
				}
				return known(region, v)
			}
		}, `region "eu-central-1" has no useFIPS endpoint for ECR`},
		"an endpoint without the region": {func(r *resolver) {
			r.ecrHost = func(string, variant) (string, error) { return "api.ecr.example", nil }
		}, `can't be told from the standard endpoint "api.ecr.example"`},
		"a dual-stack endpoint of another form": {func(r *resolver) {
			known := r.ecrHost
			r.ecrHost = func(region string, v variant) (string, error) {
				if v.dualStack {
					return "ecr.eu-central-1.other.aws", nil
				}
				return known(region, v)
			}
		}, `can't be told from the useDualStack endpoint "ecr.eu-central-1.other.aws"`},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			config.UseFIPS, config.UseDualStack = true, true
			resolve := sdkResolver
			test.change(&resolve)
			_, err := config.validate(resolve)
			checkMessage(t, err, providers.Invalid, []string{test.want})
		})
	}
}

func TestWhiteSpaceAroundValuesIsIgnored(t *testing.T) {
	plain := withRole(testConfig())
	padded := plain
	fields := reflect.ValueOf(&padded).Elem()
	for i := range fields.NumField() {
		if field := fields.Field(i); field.Kind() == reflect.String {
			field.SetString(" " + field.String() + "\r\n")
		}
	}
	want, got := mustNew(t, plain), mustNew(t, padded)
	if want.Key() != got.Key() || want.config != got.config {
		t.Error("padding makes another provider")
	}
	if diff := cmp.Diff(want.Registries(), got.Registries()); diff != "" {
		t.Error(diff)
	}
}

func mustNew(t *testing.T, config Config) *Provider {
	t.Helper()
	provider, err := New(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	return provider
}

// TestKeyCoversEveryInput changes every field there is, so that a new one
// can't be forgotten.
func TestKeyCoversEveryInput(t *testing.T) {
	// A role alone must not share a token with no role: IMPS did.
	keys := map[string]string{"nothing": testConfig().key()}
	for i := range reflect.TypeFor[Config]().NumField() {
		config := testConfig()
		name := reflect.TypeFor[Config]().Field(i).Name
		switch field := reflect.ValueOf(&config).Elem().Field(i); field.Kind() {
		case reflect.String:
			field.SetString(field.String() + "x")
		case reflect.Bool:
			field.SetBool(!field.Bool())
		default:
			t.Fatalf("don't know how to change %s", name)
		}
		for other, key := range keys {
			if key == config.key() {
				t.Errorf("changing %s and changing %s make the same key", name, other)
			}
		}
		keys[name] = config.key()
	}
}

func TestKeyKeepsNeighbouringFieldsApart(t *testing.T) {
	zeros := strings.Repeat("\x00", 8)
	for name, pairs := range map[string][2][2]string{
		"a field's end is the next one's beginning": {{"AB", "C"}, {"A", "BC"}},
		"fields that hold what may separate them":   {{"A" + zeros + "B", "C"}, {"A", "B" + zeros + "C"}},
	} {
		t.Run(name, func(t *testing.T) {
			one, other := testConfig(), testConfig()
			one.AccessKeyID, one.SecretAccessKey = pairs[0][0], pairs[0][1]
			other.AccessKeyID, other.SecretAccessKey = pairs[1][0], pairs[1][1]
			if one.key() == other.key() {
				t.Error("fields run together")
			}
		})
	}
}

func TestKeyIsAHashAndStable(t *testing.T) {
	key := mustNew(t, testConfig()).Key()
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(key) {
		t.Errorf("%q is not a SHA-256", key)
	}
	if again := mustNew(t, testConfig()).Key(); again != key {
		t.Errorf("got %s, then %s", key, again)
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	config := withRole(testConfig())
	provider := mustNew(t, config)
	type holder struct {
		Provider providers.Provider
		Config   Config
	}
	for _, value := range []any{config, &config, provider, holder{provider, config}, &holder{provider, config}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if found := leaks(fmt.Sprintf(verb, value)); found != nil {
				t.Errorf("%s of %T tells %q", verb, value, found)
			}
		}
	}
}

func TestRegistriesAreACopy(t *testing.T) {
	provider := mustNew(t, testConfig())
	provider.Registries()[0] = "changed"
	if got := provider.Registries()[0]; got != "111122223333.dkr.ecr.eu-central-1.amazonaws.com" {
		t.Errorf("got %q", got)
	}
}

func TestProvidersShareOneClientUnlessGivenAnother(t *testing.T) {
	one, other := mustNew(t, testConfig()), mustNew(t, withRole(testConfig()))
	if one.client.Transport != other.client.Transport {
		t.Error("two transports, thus two pools of connections")
	}
	transport := &http.Transport{}
	given, err := New(testConfig(), &http.Client{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	if given.client.Transport != transport {
		t.Error("the given client is not used")
	}
	if one.Name() != "ecr" {
		t.Errorf("name %q", one.Name())
	}
}
