package awsidentity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/internal/awsidentity/awstest"
	"github.com/imagepullsecrets/operator/providers"
)

// apiError is a refusal without any response.
type apiError struct{ code, message string }

func (e *apiError) Error() string                 { return e.code }
func (e *apiError) ErrorCode() string             { return e.code }
func (e *apiError) ErrorMessage() string          { return e.message }
func (e *apiError) ErrorFault() smithy.ErrorFault { return smithy.FaultUnknown }

// assumed is what a fake saw of an AssumeRole.
type assumed struct{ Action, Role, Session, ExternalID, Duration, Signer string }

func seen(t *testing.T, fake *awstest.Server) []assumed {
	t.Helper()
	var calls []assumed
	for _, request := range fake.Requests() {
		_, signer, _ := strings.Cut(request.Authorization, "Credential=")
		signer, scope, _ := strings.Cut(signer, "/")
		if signer != "" && !strings.Contains(scope, "/eu-central-1/sts/aws4_request") {
			t.Errorf("signed for %s", scope)
		}
		if (request.SessionToken == awstest.Session) != (signer == awstest.SessionID) {
			t.Errorf("signed by %s with the session's token %q", signer, request.SessionToken)
		}
		if request.Host != "sts.eu-central-1.amazonaws.com" {
			t.Errorf("asked %s", request.Host)
		}
		calls = append(calls, assumed{
			request.Action, request.Form.Get("RoleArn"), request.Form.Get("RoleSessionName"), request.Form.Get("ExternalId"),
			request.Form.Get("DurationSeconds"), signer,
		})
	}
	return calls
}

func TestRolesAreAssumedInTurn(t *testing.T) {
	const operator = "imagepullsecret-operator"
	chain := []Role{{RoleARN: nextRole, ExternalID: "ext:1"}, {RoleARN: lastRole}}
	chained := keyWithRole()
	chained.AssumeRoles = chain
	account := accountConfig()
	account.AssumeRoles = chain
	keyed := keyConfig()
	keyed.AssumeRoles = chain[:1]
	for name, test := range map[string]struct {
		config Config
		want   []assumed
		who    string
	}{
		"an access key assumes none":      {keyConfig(), nil, "the access key's user"},
		"an access key assumes its role":  {keyWithRole(), []assumed{{"AssumeRole", firstRole, operator, "", "900", awstest.KeyID}}, firstRole},
		"an access key assumes the chain": {keyed, []assumed{{"AssumeRole", nextRole, operator, "ext:1", "900", awstest.KeyID}}, nextRole},
		"an access key's role goes on": {chained, []assumed{
			{"AssumeRole", firstRole, operator, "", "900", awstest.KeyID},
			{"AssumeRole", nextRole, operator, "ext:1", "900", awstest.SessionID},
			{"AssumeRole", lastRole, operator, "", "900", awstest.SessionID},
		}, lastRole},
		"a ServiceAccount's role goes on": {account, []assumed{
			{"AssumeRoleWithWebIdentity", firstRole, operator + "@registry-access.puller", "", "900", ""},
			{"AssumeRole", nextRole, operator + "@registry-access.puller", "ext:1", "900", awstest.SessionID},
			{"AssumeRole", lastRole, operator + "@registry-access.puller", "", "900", awstest.SessionID},
		}, lastRole},
	} {
		t.Run(name, func(t *testing.T) {
			fake := awstest.NewServer(t)
			run := begin(newIdentity(t, test.config, fake), minting())
			provider, err := run.Credentials(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got, err := provider.Retrieve(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, seen(t, fake)); diff != "" {
				t.Error(diff)
			}
			if last := awstest.SessionID; test.want != nil && (got.AccessKeyID != last || got.SessionToken != awstest.Session) {
				t.Errorf("ends with %s", got.AccessKeyID)
			}
			for _, request := range fake.Requests() {
				if !strings.Contains(request.UserAgent, operator) {
					t.Errorf("asked as %s", request.UserAgent)
				}
			}
			if run.Who() != test.who {
				t.Errorf("is %s, want %s", run.Who(), test.who)
			}
		})
	}
}

func TestARefusedRoleNamesWhoMustBeTrusted(t *testing.T) {
	config := keyWithRole()
	config.AssumeRoles = []Role{{RoleARN: nextRole, ExternalID: "ext:1"}}
	for name, test := range map[string]struct {
		reply awstest.Reply
		want  []string
	}{
		"an untrusted role": {
			awstest.STSError(403, "AccessDenied", "no"),
			[]string{"let the trust policy of " + nextRole + " name " + firstRole, "sts:ExternalId must be the configured externalID"},
		},
		"a revoked session": {
			awstest.STSError(403, "ExpiredToken", "The security token included in the request is expired"),
			[]string{"AWS does not take the session of " + firstRole + ": was it revoked?"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			fake := awstest.NewServer(t)
			fake.Answer(awstest.AssumeRole, awstest.Sessions(awstest.AssumeRole), test.reply)
			_, err := become(t, newIdentity(t, config, fake), minting())
			awstest.CheckError(t, err, providers.Denied, test.want...)
		})
	}
}

func TestAServiceAccountsTokenIsMintedForTheExchange(t *testing.T) {
	for name, test := range map[string]struct{ audience, want string }{
		"for STS":             {"", "registry-access/puller for sts.amazonaws.com"},
		"for who is named so": {"my-aws", "registry-access/puller for my-aws"},
	} {
		t.Run(name, func(t *testing.T) {
			config := accountConfig()
			config.Audience = test.audience
			fake, cluster := awstest.NewServer(t), &awstest.Minter{IssuedAt: awstest.Now}
			identity := newIdentity(t, config, fake)
			for range 2 {
				if _, err := become(t, identity, cluster.Env()); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff([]string{test.want, test.want}, cluster.Asked); diff != "" {
				t.Error(diff)
			}
			for i, request := range fake.Requests() {
				if got := request.Form.Get("WebIdentityToken"); got != awstest.Token(i+1, awstest.Now) || request.Authorization != "" {
					t.Errorf("exchange %d: token %q, signed %q", i, got, request.Authorization)
				}
			}
		})
	}
}

func TestATokenThatAWSDeemsOldIsMintedOnceMore(t *testing.T) {
	old := awstest.STSError(400, "ExpiredTokenException", "Token too old: 1893550000")
	for name, test := range map[string]struct {
		replies []awstest.Reply
		tokens  int
		class   providers.Class
	}{
		"once is healed":         {[]awstest.Reply{old, awstest.Sessions(awstest.WebIdentity)}, 2, 0},
		"twice is the clock":     {[]awstest.Reply{old, old, awstest.Sessions(awstest.WebIdentity)}, 2, providers.ClockSkew},
		"then another refusal":   {[]awstest.Reply{old, awstest.STSError(403, "AccessDenied", "no")}, 2, providers.Denied},
		"others aren't repeated": {[]awstest.Reply{awstest.STSError(403, "AccessDenied", "no"), awstest.Sessions(awstest.WebIdentity)}, 1, providers.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			fake, cluster := awstest.NewServer(t), &awstest.Minter{IssuedAt: awstest.Now}
			fake.Answer(awstest.WebIdentity, test.replies...)
			_, err := become(t, newIdentity(t, accountConfig(), fake), cluster.Env())
			if len(cluster.Asked) != test.tokens {
				t.Errorf("minted %d tokens", len(cluster.Asked))
			}
			if test.class == 0 && err != nil {
				t.Error(err)
			}
			if test.class != 0 {
				awstest.CheckError(t, err, test.class)
			}
			sent := map[string]bool{}
			for _, request := range fake.Requests() {
				sent[request.Form.Get("WebIdentityToken")] = true
			}
			if len(sent) != test.tokens {
				t.Errorf("sent %d different tokens", len(sent))
			}
		})
	}
}

func TestATokenThatIsNotMintedIsTheWholeError(t *testing.T) {
	refused := providers.Errorf(providers.Invalid, "grant create on serviceaccounts/token")
	fake := awstest.NewServer(t)
	_, err := become(t, newIdentity(t, accountConfig(), fake), (&awstest.Minter{Err: refused}).Env())
	if !errors.Is(err, refused) || len(fake.Actions()) != 0 {
		t.Errorf("got %v after %v", err, fake.Actions())
	}
}

func TestATokenThatCannotBeReadMakesTheHintLessExact(t *testing.T) {
	fake := awstest.NewServer(t)
	fake.Answer(awstest.WebIdentity, awstest.STSError(403, "AccessDenied", "no opaque-secret-token"))
	env := providers.Env{Token: func(context.Context, providers.ServiceAccount, string) (string, error) {
		return "opaque-secret-token", nil
	}}
	_, err := become(t, newIdentity(t, accountConfig(), fake), env)
	awstest.CheckError(t, err, providers.Denied, "the OIDC provider of the cluster's issuer", "AccessDenied: no ***")
}

func TestAccessKeyAndServiceAccountLookAtNothingElse(t *testing.T) {
	for key, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIAENVIRONMENT", "AWS_SECRET_ACCESS_KEY": "environment", "AWS_SESSION_TOKEN": "environment",
		"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_PROFILE": "environment",
		"AWS_ENDPOINT_URL": "https://elsewhere.example", "AWS_ENDPOINT_URL_STS": "https://elsewhere.example",
		"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true", "AWS_MAX_ATTEMPTS": "1",
		"AWS_ROLE_ARN": "arn:aws:iam::999999999999:role/environment", "AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent",
		"AWS_ROLE_SESSION_NAME": "environment", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/environment",
		"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_CA_BUNDLE": "/nonexistent",
		"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1",
	} {
		t.Setenv(key, value)
	}
	for name, config := range map[string]Config{"an access key": keyWithRole(), "a ServiceAccount": accountConfig()} {
		t.Run(name, func(t *testing.T) {
			fake := awstest.NewServer(t)
			if _, err := become(t, newIdentity(t, config, fake), minting()); err != nil {
				t.Fatal(err)
			}
			if sent := fmt.Sprint(seen(t, fake)); strings.Contains(strings.ToLower(sent), "environment") || len(fake.Actions()) != 1 {
				t.Errorf("sent %s", sent)
			}
		})
	}
}

// stsFuncs stand for the SDK.
type stsFuncs struct {
	role func() (*sts.AssumeRoleOutput, error)
	web  func() (*sts.AssumeRoleWithWebIdentityOutput, error)
}

func (f stsFuncs) AssumeRole(context.Context, *sts.AssumeRoleInput, ...func(*sts.Options)) (*sts.AssumeRoleOutput, error) {
	return f.role()
}

func (f stsFuncs) AssumeRoleWithWebIdentity(context.Context, *sts.AssumeRoleWithWebIdentityInput, ...func(*sts.Options)) (*sts.AssumeRoleWithWebIdentityOutput, error) {
	return f.web()
}

func TestWhateverTheSDKReturnsIsSurvived(t *testing.T) {
	api := stsFuncs{
		role: func() (*sts.AssumeRoleOutput, error) { return nil, nil },
		web:  func() (*sts.AssumeRoleWithWebIdentityOutput, error) { return nil, nil },
	}
	empty := stsFuncs{
		role: func() (*sts.AssumeRoleOutput, error) { return &sts.AssumeRoleOutput{}, nil },
		web: func() (*sts.AssumeRoleWithWebIdentityOutput, error) {
			return &sts.AssumeRoleWithWebIdentityOutput{}, nil
		},
	}
	for name, test := range map[string]struct {
		config Config
		api    stsAPI
	}{
		"nothing for a key":               {keyWithRole(), api},
		"nothing for a ServiceAccount":    {accountConfig(), api},
		"an empty one for a key":          {keyWithRole(), empty},
		"an empty one for ServiceAccount": {accountConfig(), empty},
	} {
		t.Run(name, func(t *testing.T) {
			identity := newIdentity(t, test.config, awstest.Broken{Err: errors.New("no network here")})
			identity.newSTS = func(sts.Options) stsAPI { return test.api }
			_, err := become(t, identity, minting())
			awstest.CheckError(t, err, providers.Transient, "the answer does not hold the session's credentials")
		})
	}
}

func TestTheRealRetryerIsBounded(t *testing.T) {
	if got := NewRetryer().MaxAttempts(); got != 3 {
		t.Errorf("%d attempts", got)
	}
}
