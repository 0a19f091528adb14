package ecr

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/internal/awsidentity"
	"github.com/imagepullsecrets/operator/internal/awsidentity/awstest"
	"github.com/imagepullsecrets/operator/internal/exchange/exchangetest"
	"github.com/imagepullsecrets/operator/providers"
)

const host = "111122223333.dkr.ecr.eu-central-1.amazonaws.com"

func testConfig() Config {
	return Config{
		Identity:  awsidentity.Config{AccessKeyID: awstest.KeyID, SecretAccessKey: awstest.SecretKey},
		Region:    "eu-central-1",
		AccountID: "111122223333",
	}
}

func withRole(c Config) Config {
	c.Identity.RoleARN = "arn:aws:iam::111122223333:role/team/pull"
	return c
}

func withServiceAccount(c Config) Config {
	c.Identity = awsidentity.Config{
		ServiceAccount: providers.ServiceAccount{Namespace: "registry-access", Name: "puller", UID: "u-1"},
		RoleARN:        "arn:aws:iam::111122223333:role/team/pull",
	}
	return c
}

func mustNew(t *testing.T, config Config) *Provider {
	t.Helper()
	provider, err := New(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	return provider
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"everything empty is told at once": {
			func(c *Config) { *c = Config{} }, []string{"nobody is named to call AWS", "accountID is empty", "region is empty"},
		},
		"everything wrong is told at once": {
			func(c *Config) {
				*c = Config{Identity: awsidentity.Config{AccessKeyID: "%", RoleARN: "x"}, AccountID: "1", Region: "eu-central-1", Registries: []string{"a.example", "b.example"}}
			},
			[]string{"accessKeyID must match", "secretKey is empty", "roleArn must be", "accountID must match", `"a.example" is not`, `"b.example" is not`},
		},
		"an account with dashes":          {func(c *Config) { c.AccountID = "1111-2222-3333" }, []string{`accountID must match ^\d{12}$, not "1111-2222-3333"`}},
		"an account that lost its zero":   {func(c *Config) { c.AccountID = "11122223333" }, []string{`not "11122223333"`}},
		"an account with other digits":    {func(c *Config) { c.AccountID = "١١١١٢٢٢٢٣٣٣٣" }, []string{"accountID must match"}},
		"an account on two lines":         {func(c *Config) { c.AccountID = "111122223333\nx" }, []string{`not "111122223333\nx"`}},
		"a secret in the account's place": {func(c *Config) { c.AccountID = strings.Repeat("planted", 6) }, []string{"not a value of 42 characters"}},
		"a region that names a host":      {func(c *Config) { c.Region = "eu-central-1.evil.example/" }, []string{`not "eu-central-1.evil.example/"`}},
		"a region that switches on FIPS":  {func(c *Config) { c.Region = "fips-us-east-1" }, []string{"set useFIPS instead"}},
		"a role of another partition": {
			func(c *Config) { c.Identity.RoleARN, c.Region = "arn:aws:iam::111122223333:role/pull", "cn-north-1" },
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
			awstest.CheckError(t, err, providers.Invalid, test.want...)
			if strings.Contains(err.Error(), strings.Repeat("planted", 6)) {
				t.Errorf("%q tells the secret", err)
			}
		})
	}
}

func TestNewRefusesRegistriesThatTheLoginMustNotReach(t *testing.T) {
	for name, test := range map[string]struct{ registry, want string }{
		"a host that goes on":          {host + ".evil.example", "is not AWS's; in region eu-central-1 a registry's host is the account's ID and one of .dkr.ecr.eu-central-1.amazonaws.com, ."},
		"a host in another's domain":   {"evil.example." + host, "is not a private registry's host, such as 111122223333.dkr.ecr.eu-central-1.amazonaws.com"},
		"a host with a path":           {host + "/evil", "is not a private registry's host"},
		"a host with a port":           {host + ":8443", "is not a private registry's host"},
		"a URL":                        {"https://" + host, "is not a private registry's host"},
		"a user in front":              {"evil@" + host, "is not a private registry's host"},
		"two lines":                    {"evil.example\n" + host, "is not a private registry's host"},
		"a look-alike of AWS":          {"111122223333.dkr.ecr.eu-central-1.amazonaws.co", "is not AWS's"},
		"a look-alike of its dots":     {"111122223333.dkr.ecr.eu-central-1.amazonaws-com", "is not AWS's"},
		"another partition's domain":   {"111122223333.dkr.ecr.eu-central-1.amazonaws.com.cn", "is not AWS's"},
		"the other kind's domain":      {"111122223333.dkr.ecr.eu-central-1.on.aws", "is not AWS's"},
		"the other kind's labels":      {"111122223333.dkr-ecr.eu-central-1.amazonaws.com", "is not AWS's"},
		"another region":               {"111122223333.dkr.ecr.eu-west-1.amazonaws.com", `is of region "eu-west-1", but a login opens registries of its own region only`},
		"another partition":            {"111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn", `is of region "cn-north-1"`},
		"capitals":                     {strings.ToUpper(host), "is not a private registry's host"},
		"a short account":              {"11112222333.dkr.ecr.eu-central-1.amazonaws.com", "is not a private registry's host"},
		"the public gallery":           {"public.ecr.aws", "is not a private registry's host"},
		"the API":                      {"api.ecr.eu-central-1.amazonaws.com", "is not a private registry's host"},
		"nothing":                      {" ", `registries: "" is not a private registry's host`},
		"a star":                       {"*.dkr.ecr.eu-central-1.amazonaws.com", "is not a private registry's host"},
		"longer than any host":         {strings.Repeat("1", 254), "a value of 254 bytes is not a private registry's host"},
		"a dot at the end":             {host + ".", "is not AWS's"},
		"digits of another alphabet":   {"١١١١٢٢٢٢٣٣٣٣.dkr.ecr.eu-central-1.amazonaws.com", "is not a private registry's host"},
		"a dot that matches any label": {"111122223333.dkrxecr.eu-central-1.amazonaws.com", "is not a private registry's host"},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			config.Registries = []string{test.registry}
			_, err := New(config, nil)
			awstest.CheckError(t, err, providers.Invalid, "registries: ", test.want)
		})
	}
}

func FuzzRegistries(f *testing.F) {
	for _, seed := range []string{host, host + ".evil.example", "444455556666.dkr-ecr-fips.eu-central-1.on.aws", "", "\xff", host + "\n"} {
		f.Add(seed)
	}
	known := []string{
		"dkr.ecr.eu-central-1.amazonaws.com", "dkr.ecr-fips.eu-central-1.amazonaws.com", "dkr-ecr.eu-central-1.on.aws", "dkr-ecr-fips.eu-central-1.on.aws",
	}
	f.Fuzz(func(t *testing.T, registry string) {
		config := testConfig()
		config.Registries = []string{registry}
		provider, err := New(config, nil)
		account, suffix, _ := strings.Cut(strings.TrimSpace(registry), ".")
		ours := len(account) == 12 && strings.Trim(account, "0123456789") == "" && slices.Contains(known, suffix)
		if (err == nil) != ours {
			t.Errorf("%q is ours: %t, got %v, %v", registry, ours, provider, err)
		}
	})
}

func TestRegistries(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"the account's": {func(*Config) {}, []string{host}},
		"with FIPS":     {func(c *Config) { c.UseFIPS = true }, []string{host, "111122223333.dkr.ecr-fips.eu-central-1.amazonaws.com"}},
		"with further ones": {
			func(c *Config) {
				c.Registries = []string{" 444455556666.dkr.ecr.eu-central-1.amazonaws.com\n", "111122223333.dkr-ecr.eu-central-1.on.aws", "444455556666.dkr-ecr-fips.eu-central-1.on.aws"}
			},
			[]string{host, "444455556666.dkr.ecr.eu-central-1.amazonaws.com", "111122223333.dkr-ecr.eu-central-1.on.aws", "444455556666.dkr-ecr-fips.eu-central-1.on.aws"},
		},
		"each once": {
			func(c *Config) {
				c.UseDualStack = true
				c.Registries = []string{"111122223333.dkr-ecr.eu-central-1.on.aws", host, "444455556666.dkr.ecr.eu-central-1.amazonaws.com", "444455556666.dkr.ecr.eu-central-1.amazonaws.com"}
			},
			[]string{host, "111122223333.dkr-ecr.eu-central-1.on.aws", "444455556666.dkr.ecr.eu-central-1.amazonaws.com"},
		},
		"in China": {
			func(c *Config) {
				c.Region = "cn-north-1"
				c.Registries = []string{"444455556666.dkr.ecr.cn-north-1.amazonaws.com.cn", "444455556666.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn"}
			},
			[]string{"111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn", "444455556666.dkr.ecr.cn-north-1.amazonaws.com.cn", "444455556666.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			test.change(&config)
			if diff := cmp.Diff(test.want, mustNew(t, config).Registries()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNewSaysThatARegionHasNoSuchEndpoints(t *testing.T) {
	missing := errors.New("FIPS is enabled but this partition does not support FIPS")
	for name, test := range map[string]struct {
		host hostOf
		want string
	}{
		"no endpoint": {func(string, awsidentity.Variant) (string, error) { return "", missing }, `region "eu-central-1" has no standard endpoint for ECR: FIPS is enabled but`},
		"no plain FIPS endpoint": {func(region string, v awsidentity.Variant) (string, error) {
			if v == (awsidentity.Variant{FIPS: true}) {
				return "", missing
			}
			return sdkHost(region, v)
		}, `region "eu-central-1" has no useFIPS endpoint for ECR`},
		"an endpoint without the region": {func(string, awsidentity.Variant) (string, error) { return "api.ecr.example", nil }, `can't be told from the standard endpoint "api.ecr.example"`},
		"a dual-stack endpoint of another form": {func(region string, v awsidentity.Variant) (string, error) {
			if v.DualStack {
				return "ecr.eu-central-1.other.aws", nil
			}
			return sdkHost(region, v)
		}, `can't be told from the useDualStack endpoint "ecr.eu-central-1.other.aws"`},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			config.UseFIPS, config.UseDualStack = true, true
			_, err := newProvider(config, nil, test.host)
			awstest.CheckError(t, err, providers.Invalid, test.want)
		})
	}
}

func TestARegionWithoutOtherKindsOfEndpointsHasTheStandardOne(t *testing.T) {
	standard := func(region string, v awsidentity.Variant) (string, error) {
		if v != (awsidentity.Variant{}) {
			return "", errors.New("no such endpoints here")
		}
		return sdkHost(region, v)
	}
	config := testConfig()
	if _, err := newProvider(config, nil, standard); err != nil {
		t.Error(err)
	}
	config.Registries = []string{"111122223333.dkr-ecr.eu-central-1.on.aws"}
	_, err := newProvider(config, nil, standard)
	awstest.CheckError(t, err, providers.Invalid, "is not AWS's; in region eu-central-1 a registry's host is the account's ID and one of .dkr.ecr.eu-central-1.amazonaws.com")
}

func TestTheKeyCoversWhatDecidesOnTheLogin(t *testing.T) {
	key := func(c Config) string { return mustNew(t, c).Key() }
	exchangetest.CheckKeys(t, testConfig, key, map[string]exchangetest.Change[Config]{
		// awsidentity's tests change each of its fields. A role must not share a
		// token with no role: IMPS did.
		"Identity":     {Set: func(c *Config) { c.Identity.RoleARN = "arn:aws:iam::111122223333:role/other" }},
		"Region":       {Set: func(c *Config) { c.Region = "eu-west-1" }},
		"UseFIPS":      {Set: func(c *Config) { c.UseFIPS = true }},
		"UseDualStack": {Set: func(c *Config) { c.UseDualStack = true }},
		"AccountID": {
			Set:         func(c *Config) { c.AccountID = "444455556666" },
			Indifferent: "a token opens the registries of every account that its principal may read",
		},
		"Registries": {
			Set:         func(c *Config) { c.Registries = []string{"444455556666.dkr.ecr.eu-central-1.amazonaws.com"} },
			Indifferent: "they are where the login is written, not what it is",
		},
	})
}

func TestTheKeyIsThatOfTheService(t *testing.T) {
	provider := mustNew(t, testConfig())
	if provider.Key() != provider.identity.Key("ecr") || provider.Name() != "ecr" {
		t.Errorf("%s has key %s", provider.Name(), provider.Key())
	}
}

func TestTheEndpointsAreThoseThatAreCalled(t *testing.T) {
	const api = "api.ecr.eu-central-1.amazonaws.com"
	fips := withRole(testConfig())
	fips.UseFIPS = true
	for name, test := range map[string]struct {
		config Config
		want   []string
	}{
		"an access key asks ECR":     {testConfig(), []string{api}},
		"a role begins at STS":       {withRole(testConfig()), []string{"sts.eu-central-1.amazonaws.com", api}},
		"a ServiceAccount, too":      {withServiceAccount(testConfig()), []string{"sts.eu-central-1.amazonaws.com", api}},
		"with FIPS, both are others": {fips, []string{"sts-fips.eu-central-1.amazonaws.com", "api.ecr-fips.eu-central-1.amazonaws.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := mustNew(t, test.config).Endpoints(); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWhiteSpaceAroundValuesIsIgnored(t *testing.T) {
	padded := testConfig()
	padded.Region, padded.AccountID = " eu-central-1\r\n", "111122223333\n"
	padded.Identity.SecretAccessKey += "\n"
	want, got := mustNew(t, testConfig()), mustNew(t, padded)
	if want.Key() != got.Key() {
		t.Error("padding makes another key")
	}
	if diff := cmp.Diff(want.Registries(), got.Registries()); diff != "" {
		t.Error(diff)
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
			if found := awstest.Leaks(fmt.Sprintf(verb, value)); len(found) > 0 {
				t.Errorf("%s of %T tells %q", verb, value, found)
			}
		}
	}
}

func TestRegistriesAreACopy(t *testing.T) {
	provider := mustNew(t, testConfig())
	provider.Registries()[0] = "changed"
	if got := provider.Registries()[0]; got != host {
		t.Errorf("got %q", got)
	}
}

func TestTheGivenClientIsUsed(t *testing.T) {
	used := errors.New("used")
	provider, err := New(testConfig(), &http.Client{Transport: awstest.Broken{Err: used}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Fetch(t.Context(), providers.Env{}); !errors.Is(err, used) {
		t.Errorf("got %v", err)
	}
}
