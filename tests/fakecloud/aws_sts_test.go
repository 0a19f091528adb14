package fakecloud_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

const role = "arn:aws:iam::444455556666:role/team/puller"

func assume(arn string, mod ...func(*sts.AssumeRoleInput)) *sts.AssumeRoleInput {
	in := &sts.AssumeRoleInput{RoleArn: aws.String(arn), RoleSessionName: aws.String("test")}
	for _, m := range mod {
		m(in)
	}
	return in
}

func TestAnAssumedRoleObtainsATokenForItsOwnGrants(t *testing.T) {
	cloud, _ := start(t)
	key := cloud.AddAccessKey(account, "puller")
	cloud.AddRole(role, fakecloud.Trust{Principals: []string{key.UserARN}})
	cloud.GrantECR(role, other)

	assumed, err := stsClient(cloud, static(key)).AssumeRole(t.Context(), assume(role))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := *assumed.AssumedRoleUser.Arn, "arn:aws:sts::444455556666:assumed-role/puller/test"; got != want {
		t.Errorf("the session is %s, want %s", got, want)
	}
	if got := *assumed.AssumedRoleUser.AssumedRoleId; !strings.HasPrefix(got, "AROA") || !strings.HasSuffix(got, ":test") {
		t.Errorf("the role's ID is %s", got)
	}
	answer, err := ecrClient(cloud, session(assumed.Credentials)).GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := *answer.AuthorizationData[0].ProxyEndpoint, "https://444455556666.dkr.ecr.eu-central-1.amazonaws.com"; got != want {
		t.Errorf("proxyEndpoint is %s, want that of the role's account, %s", got, want)
	}

	broken := *assumed.Credentials
	broken.SessionToken = aws.String("forged")
	_, err = ecrClient(cloud, session(&broken)).GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	if got := code(err); got != "UnrecognizedClientException" {
		t.Errorf("a forged session token gives %q", got)
	}
}

func externalID(id string) func(*sts.AssumeRoleInput) {
	return func(in *sts.AssumeRoleInput) { in.ExternalId = &id }
}

func lasting(seconds int32) func(*sts.AssumeRoleInput) {
	return func(in *sts.AssumeRoleInput) { in.DurationSeconds = &seconds }
}

func named(s string) func(*sts.AssumeRoleInput) {
	return func(in *sts.AssumeRoleInput) { in.RoleSessionName = &s }
}

func TestSTSRefusesByItsOwnErrorCodes(t *testing.T) {
	cloud, _ := start(t)
	key := cloud.AddAccessKey(account, "puller")
	stranger := cloud.AddAccessKey(account, "stranger")
	disabled := cloud.AddAccessKey(account, "puller")
	cloud.DisableAccessKey(disabled.ID)
	cloud.AddRole(role, fakecloud.Trust{Principals: []string{key.UserARN}})
	const guarded = "arn:aws:iam::444455556666:role/guarded"
	cloud.AddRole(guarded, fakecloud.Trust{Principals: []string{key.ID}, ExternalID: "e-1"})
	const shared = "arn:aws:iam::444455556666:role/shared"
	cloud.AddRole(shared, fakecloud.Trust{Principals: []string{account}, MaxDuration: 4 * time.Hour})

	tests := map[string]struct {
		key   fakecloud.AccessKey
		input *sts.AssumeRoleInput
		want  string
		says  string
	}{
		"a trusted user may":                             {key, assume(role), "", ""},
		"a user trusted by the ID of its key may":        {key, assume(guarded, externalID("e-1")), "", ""},
		"anyone of a trusted account may":                {stranger, assume(shared), "", ""},
		"four hours are fine where the role allows it":   {key, assume(shared, lasting(14400)), "", ""},
		"an external ID that nobody asks for is ignored": {key, assume(role, externalID("e-1")), "", ""},
		"an untrusted user is denied": {
			stranger, assume(role), "AccessDenied",
			"User: arn:aws:iam::111122223333:user/stranger is not authorized to perform: sts:AssumeRole on resource: " + role,
		},
		"a role that is not there is denied alike": {
			key, assume("arn:aws:iam::444455556666:role/absent"), "AccessDenied", "is not authorized to perform: sts:AssumeRole",
		},
		"a wrong external ID is denied":                {key, assume(guarded, externalID("e-2")), "AccessDenied", ""},
		"a missing external ID is denied":              {key, assume(guarded), "AccessDenied", ""},
		"a wrong secret does not match":                {fakecloud.AccessKey{ID: key.ID, Secret: "wrong"}, assume(role), "SignatureDoesNotMatch", ""},
		"an unknown key is invalid":                    {fakecloud.AccessKey{ID: "AKIAUNKNOWN", Secret: "s"}, assume(role), "InvalidClientTokenId", ""},
		"a disabled key is invalid":                    {disabled, assume(role), "InvalidClientTokenId", ""},
		"less than a quarter of an hour is invalid":    {key, assume(role, lasting(899)), "ValidationError", "greater than or equal to 900"},
		"more than twelve hours is invalid":            {key, assume(role, lasting(43201)), "ValidationError", "less than or equal to 43200"},
		"more than the role allows is invalid":         {key, assume(role, lasting(7200)), "ValidationError", "MaxSessionDuration"},
		"a role of another partition is invalid":       {key, assume("arn:aws-cn:iam::444455556666:role/r"), "ValidationError", "Request ARN is invalid"},
		"an ARN that is no role's is invalid":          {key, assume("arn:aws:iam::444455556666:user/someone"), "ValidationError", ""},
		"a session name with a colon is invalid":       {key, assume(role, named("ns:sa")), "ValidationError", "roleSessionName"},
		"a session name of 65 characters is too long":  {key, assume(role, named(strings.Repeat("n", 65))), "ValidationError", ""},
		"an external ID with a line end is invalid":    {key, assume(guarded, externalID("e-1\n")), "ValidationError", "externalId"},
		"a role with a path is found by its whole ARN": {key, assume("arn:aws:iam::444455556666:role/puller"), "AccessDenied", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := stsClient(cloud, static(tt.key)).AssumeRole(t.Context(), tt.input)
			if got := code(err); got != tt.want {
				t.Fatalf("error code is %q, want %q (%v)", got, tt.want, err)
			}
			if err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %q does not say %q", err, tt.says)
			}
		})
	}
}

func TestSTSAnswersUnderTheHostNamesThatTheSDKMakes(t *testing.T) {
	tests := map[string]struct {
		partition, region string
		fips, dual        bool
	}{
		"a commercial region":             {"aws", "eu-central-1", false, false},
		"a commercial region, FIPS":       {"aws", "us-east-1", true, false},
		"a commercial region, dual-stack": {"aws", "us-east-1", false, true},
		"China":                           {"aws-cn", "cn-north-1", false, false},
		"China, dual-stack":               {"aws-cn", "cn-north-1", false, true},
		"US government":                   {"aws-us-gov", "us-gov-west-1", false, false},
		"US government, FIPS":             {"aws-us-gov", "us-gov-west-1", true, false},
		"the European sovereign cloud":    {"aws-eusc", "eusc-de-east-1", false, false},
	}
	cloud, _ := start(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			key := cloud.AddAccessKeyIn(tt.partition, account, "puller")
			arn := "arn:" + tt.partition + ":iam::" + account + ":role/r"
			cloud.AddRole(arn, fakecloud.Trust{Principals: []string{key.UserARN}})
			client := stsClient(cloud, static(key), func(o *sts.Options) {
				o.Region = tt.region
				if tt.fips {
					o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateEnabled
				}
				if tt.dual {
					o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled
				}
			})
			if _, err := client.AssumeRole(t.Context(), assume(arn)); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("the global name", func(t *testing.T) {
		key := cloud.AddAccessKey(account, "puller")
		client := stsClient(cloud, static(key), func(o *sts.Options) {
			o.Region, o.BaseEndpoint = "us-east-1", aws.String("https://sts.amazonaws.com")
		})
		if _, err := client.AssumeRole(t.Context(), assume("arn:aws:iam::"+account+":role/r")); err != nil {
			t.Error(err)
		}
	})
}

func TestSessionsExpireByTheClockOfTheCloud(t *testing.T) {
	cloud, clock := start(t)
	key := cloud.AddAccessKey(account, "puller")
	cloud.AddRole(role, fakecloud.Trust{Principals: []string{key.UserARN}})
	cloud.GrantECR(role, other)
	assumed, err := stsClient(cloud, static(key)).AssumeRole(t.Context(), assume(role))
	if err != nil {
		t.Fatal(err)
	}
	obtain := func() string {
		// Retries, because the SDK signs by the real time until it has read the cloud's.
		client := ecrClient(cloud, session(assumed.Credentials), func(o *ecr.Options) { o.Retryer = eager() })
		_, err := client.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
		return code(err)
	}
	clock.advance(59 * time.Minute)
	if got := obtain(); got != "" {
		t.Errorf("after 59 minutes: %q, want a token", got)
	}
	clock.advance(time.Minute)
	if got := obtain(); got != "ExpiredTokenException" {
		t.Errorf("after an hour: %q, want ExpiredTokenException", got)
	}
}

func TestARoleAssumedByASessionLastsAnHourAtMost(t *testing.T) {
	cloud, _ := start(t)
	key := cloud.AddAccessKey(account, "puller")
	const second = "arn:aws:iam::444455556666:role/second"
	cloud.AddRole(role, fakecloud.Trust{Principals: []string{key.UserARN}})
	cloud.AddRole(second, fakecloud.Trust{Principals: []string{role}, MaxDuration: 12 * time.Hour})
	first, err := stsClient(cloud, static(key)).AssumeRole(t.Context(), assume(role))
	if err != nil {
		t.Fatal(err)
	}
	chained := stsClient(cloud, session(first.Credentials))
	if _, err := chained.AssumeRole(t.Context(), assume(second)); err != nil {
		t.Errorf("for an hour: %v", err)
	}
	_, err = chained.AssumeRole(t.Context(), assume(second, lasting(3601)))
	if got := code(err); got != "ValidationError" {
		t.Errorf("for more than an hour: %q, want ValidationError", got)
	}
	_, err = stsClient(cloud, static(key)).AssumeRole(t.Context(), assume(second))
	if got := code(err); got != "AccessDenied" {
		t.Errorf("without the first role: %q, want AccessDenied", got)
	}
}
