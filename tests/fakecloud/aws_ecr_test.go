package fakecloud_test

import (
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

func TestECRAnswersUnderTheHostNamesThatTheSDKMakes(t *testing.T) {
	tests := map[string]struct {
		partition, region string
		fips, dual        bool
		endpoint          string
	}{
		"a commercial region":              {"aws", "eu-central-1", false, false, "https://111122223333.dkr.ecr.eu-central-1.amazonaws.com"},
		"a recent commercial region":       {"aws", "mx-central-1", false, false, "https://111122223333.dkr.ecr.mx-central-1.amazonaws.com"},
		"a commercial region, FIPS":        {"aws", "us-east-1", true, false, "https://111122223333.dkr.ecr.us-east-1.amazonaws.com"},
		"a commercial region, dual-stack":  {"aws", "us-east-1", false, true, "https://111122223333.dkr.ecr.us-east-1.amazonaws.com"},
		"FIPS and dual-stack at once":      {"aws", "us-east-1", true, true, "https://111122223333.dkr.ecr.us-east-1.amazonaws.com"},
		"China":                            {"aws-cn", "cn-north-1", false, false, "https://111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn"},
		"China, dual-stack":                {"aws-cn", "cn-northwest-1", false, true, "https://111122223333.dkr.ecr.cn-northwest-1.amazonaws.com.cn"},
		"US government":                    {"aws-us-gov", "us-gov-west-1", false, false, "https://111122223333.dkr.ecr.us-gov-west-1.amazonaws.com"},
		"US government, FIPS":              {"aws-us-gov", "us-gov-west-1", true, false, "https://111122223333.dkr.ecr.us-gov-west-1.amazonaws.com"},
		"US government, dual-stack":        {"aws-us-gov", "us-gov-east-1", false, true, "https://111122223333.dkr.ecr.us-gov-east-1.amazonaws.com"},
		"the European sovereign cloud":     {"aws-eusc", "eusc-de-east-1", false, false, "https://111122223333.dkr.ecr.eusc-de-east-1.amazonaws.eu"},
		"an isolated region":               {"aws-iso", "us-iso-east-1", false, false, "https://111122223333.dkr.ecr.us-iso-east-1.c2s.ic.gov"},
		"an isolated region of the second": {"aws-iso-b", "us-isob-east-1", false, false, "https://111122223333.dkr.ecr.us-isob-east-1.sc2s.sgov.gov"},
		"an isolated European region":      {"aws-iso-e", "eu-isoe-west-1", false, false, "https://111122223333.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk"},
	}
	cloud, _ := start(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			key := cloud.AddAccessKeyIn(tt.partition, account, "puller")
			cloud.GrantECR(key.UserARN, account)
			client := ecrClient(cloud, static(key), func(o *ecr.Options) {
				o.Region = tt.region
				if tt.fips {
					o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateEnabled
				}
				if tt.dual {
					o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled
				}
			})
			answer, err := client.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
			if err != nil {
				t.Fatal(err)
			}
			if got := *answer.AuthorizationData[0].ProxyEndpoint; got != tt.endpoint {
				t.Errorf("proxyEndpoint is %s, want %s", got, tt.endpoint)
			}
		})
	}
}

func TestECRRefusesByItsOwnErrorCodes(t *testing.T) {
	cloud, _ := start(t)
	granted := cloud.AddAccessKey(account, "granted")
	cloud.GrantECR(granted.UserARN, account)
	disabled := cloud.AddAccessKey(account, "granted")
	cloud.DisableAccessKey(disabled.ID)
	revoked := cloud.AddAccessKey(account, "revoked")
	cloud.GrantECR(revoked.UserARN, account)
	cloud.RevokeECR(revoked.UserARN)

	tests := map[string]struct {
		credentials aws.CredentialsProvider
		region      string
		want        string
	}{
		"a key with its secret is served":                  {static(granted), region, ""},
		"a wrong secret does not match":                    {static(fakecloud.AccessKey{ID: granted.ID, Secret: "wrong"}), region, "InvalidSignatureException"},
		"a secret with a line end does not match":          {static(fakecloud.AccessKey{ID: granted.ID, Secret: granted.Secret + "\n"}), region, "InvalidSignatureException"},
		"an unknown key is not recognized":                 {static(fakecloud.AccessKey{ID: "AKIAUNKNOWN", Secret: "s"}), region, "UnrecognizedClientException"},
		"a disabled key is not recognized":                 {static(disabled), region, "UnrecognizedClientException"},
		"a key is not recognized in another partition":     {static(granted), "cn-north-1", "UnrecognizedClientException"},
		"a session token on a key without is refused":      {credentials.NewStaticCredentialsProvider(granted.ID, granted.Secret, "t"), region, "UnrecognizedClientException"},
		"a user without a grant is denied":                 {static(cloud.AddAccessKey(account, "nobody")), region, "AccessDeniedException"},
		"a user whose grants were taken back is denied":    {static(revoked), region, "AccessDeniedException"},
		"a key of an ungranted user in China is also seen": {static(cloud.AddAccessKeyIn("aws-cn", account, "n")), "cn-north-1", "AccessDeniedException"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client := ecrClient(cloud, tt.credentials, func(o *ecr.Options) { o.Region = tt.region })
			_, err := client.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
			if got := code(err); got != tt.want {
				t.Errorf("error code is %q, want %q (%v)", got, tt.want, err)
			}
		})
	}
}

func TestECRSignaturesAgeByTheClockOfTheCloud(t *testing.T) {
	tests := map[string]struct {
		skew    time.Duration
		retryer aws.Retryer
		want    string
		calls   int
	}{
		"four minutes are forgiven":                              {4 * time.Minute, aws.NopRetryer{}, "", 1},
		"a cloud six minutes ahead takes it for expired":         {6 * time.Minute, aws.NopRetryer{}, "InvalidSignatureException", 1},
		"a cloud six minutes behind takes it for not yet valid":  {-6 * time.Minute, aws.NopRetryer{}, "InvalidSignatureException", 1},
		"a client that reads the Date header is served by retry": {time.Hour, eager(), "", 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cloud, clock := start(t)
			key := cloud.AddAccessKey(account, "puller")
			cloud.GrantECR(key.UserARN, account)
			clock.advance(tt.skew)
			client := ecrClient(cloud, static(key), func(o *ecr.Options) { o.Retryer = tt.retryer })
			_, err := client.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
			if got := code(err); got != tt.want {
				t.Errorf("error code is %q, want %q (%v)", got, tt.want, err)
			}
			if got := cloud.Calls(fakecloud.ECR); got != tt.calls {
				t.Errorf("%d calls, want %d", got, tt.calls)
			}
		})
	}
}

func TestECRTokensAreRandomAndExpire(t *testing.T) {
	cloud, clock := start(t)
	key := cloud.AddAccessKey(account, "puller")
	cloud.GrantECR(key.UserARN, account)
	client := ecrClient(cloud, static(key))
	for lifetime, set := range map[time.Duration]func(){
		12 * time.Hour:   func() {},
		90 * time.Second: func() { cloud.SetTokenLifetime(90 * time.Second) },
	} {
		set()
		answer, err := client.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
		if err != nil {
			t.Fatal(err)
		}
		left := answer.AuthorizationData[0].ExpiresAt.Sub(clock.Now())
		if left > lifetime || left < lifetime-30*time.Second {
			t.Errorf("the token expires in %s, want %s", left, lifetime)
		}
		cloud.SetTokenLifetime(12 * time.Hour)
	}
	first, second := token(t, client), token(t, client)
	if first == second {
		t.Error("two tokens are the same")
	}
	issued := cloud.IssuedTokens()
	for _, secret := range []string{key.Secret, first, second} {
		if !slices.Contains(issued, secret) {
			t.Error("a secret that was handed out is not among the issued ones")
		}
	}
}

func TestECRNamesTheRegistriesThatAreAskedFor(t *testing.T) {
	cloud, _ := start(t)
	key := cloud.AddAccessKey(account, "puller")
	cloud.GrantECR(key.UserARN, other)
	answer, err := ecrClient(cloud, static(key)).GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{
		RegistryIds: []string{other, account}, //nolint:staticcheck // deprecated, and still served
	})
	if err != nil {
		t.Fatal(err)
	}
	got := make([]string, 0, 2)
	for _, data := range answer.AuthorizationData {
		got = append(got, *data.ProxyEndpoint)
	}
	want := []string{"https://444455556666.dkr.ecr.eu-central-1.amazonaws.com", "https://111122223333.dkr.ecr.eu-central-1.amazonaws.com"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("proxy endpoints (-want +got):\n%s", diff)
	}
}
