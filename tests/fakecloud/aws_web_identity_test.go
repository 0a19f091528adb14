package fakecloud_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/go-jose/go-jose/v4"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

const awsAudience = "sts.amazonaws.com"

// webIdentity runs a cloud with a role that trusts the ServiceAccount of an issuer.
func webIdentity(t *testing.T) (*fakecloud.Cloud, *clock, *issuer) {
	t.Helper()
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	cloud.AddOIDCProvider(other, i.URL)
	cloud.AddRole(role, fakecloud.Trust{WebIdentities: []fakecloud.WebIdentity{{Issuer: i.URL, Audience: awsAudience, Subject: subject}}})
	return cloud, clock, i
}

func withWebIdentity(arn, token string, mod ...func(*sts.AssumeRoleWithWebIdentityInput)) *sts.AssumeRoleWithWebIdentityInput {
	in := &sts.AssumeRoleWithWebIdentityInput{RoleArn: &arn, RoleSessionName: aws.String("test"), WebIdentityToken: &token}
	for _, m := range mod {
		m(in)
	}
	return in
}

func TestATokenOfAServiceAccountAssumesARole(t *testing.T) {
	cloud, _, i := webIdentity(t)
	cloud.GrantECR(role, other)
	push(t, cloud, otherImage)
	assumed, err := stsClient(cloud, nil).AssumeRoleWithWebIdentity(t.Context(), withWebIdentity(role, i.token(t, awsAudience)))
	if err != nil {
		t.Fatal(err)
	}
	for what, pair := range map[string][2]string{
		"session":  {*assumed.AssumedRoleUser.Arn, "arn:aws:sts::444455556666:assumed-role/puller/test"},
		"subject":  {*assumed.SubjectFromWebIdentityToken, subject},
		"audience": {*assumed.Audience, awsAudience},
		"provider": {*assumed.Provider, "arn:aws:iam::444455556666:oidc-provider/" + strings.TrimPrefix(i.URL, "https://")},
	} {
		if pair[0] != pair[1] {
			t.Errorf("the %s is %s, want %s", what, pair[0], pair[1])
		}
	}
	if err := pull(t, cloud, otherImage, login("AWS", token(t, ecrClient(cloud, session(assumed.Credentials))))); err != nil {
		t.Error(err)
	}
}

func TestTheSDKsOwnProviderAssumesARoleToo(t *testing.T) {
	cloud, _, i := webIdentity(t)
	cloud.GrantECR(role, other)
	provider := stscreds.NewWebIdentityRoleProvider(stsClient(cloud, nil), role, constantToken(i.token(t, awsAudience)))
	if got := token(t, ecrClient(cloud, provider)); got == "" {
		t.Error("there is no token")
	}
}

// constantToken is the token of a ServiceAccount, at hand already.
type constantToken string

func (c constantToken) GetIdentityToken() ([]byte, error) { return []byte(c), nil }

func TestARoleIsAssumedOnlyByTheTokensThatItTrusts(t *testing.T) {
	const china = "arn:aws-cn:iam::444455556666:role/puller"
	const open = "arn:aws:iam::444455556666:role/open"
	const noTrust = "arn:aws:iam::444455556666:role/untrusting"
	const elsewhere = "arn:aws:iam::111122223333:role/puller"
	lasting := func(seconds int32) func(*sts.AssumeRoleWithWebIdentityInput) {
		return func(in *sts.AssumeRoleWithWebIdentityInput) { in.DurationSeconds = &seconds }
	}
	named := func(in *sts.AssumeRoleWithWebIdentityInput) { in.RoleSessionName = aws.String("system:serviceaccount") }
	tests := map[string]struct {
		arn   string
		token func(*testing.T, *issuer) string
		mod   func(*sts.AssumeRoleWithWebIdentityInput)
		want  string // the error's code
		says  string
	}{
		"the trusted subject may":                           {arn: role},
		"a subject that matches a pattern may":              {arn: open, token: claiming("sub", "system:serviceaccount:team:other")},
		"twelve hours are fine where the role allows it":    {arn: open, mod: lasting(43200)},
		"one audience of several is enough":                 {arn: role, token: claiming("aud", []string{"x", awsAudience})},
		"an audience may be a plain string":                 {arn: role, token: claiming("aud", awsAudience)},
		"another subject is denied":                         {arn: role, token: claiming("sub", subject+"2"), want: "AccessDenied", says: "Not authorized to perform sts:AssumeRoleWithWebIdentity"},
		"a subject outside the pattern is denied":           {arn: open, token: claiming("sub", "system:serviceaccount:teams:puller"), want: "AccessDenied"},
		"a role that is not there is denied alike":          {arn: "arn:aws:iam::444455556666:role/absent", want: "AccessDenied"},
		"a role that trusts no tokens is denied":            {arn: noTrust, want: "AccessDenied"},
		"an account without the provider says so":           {arn: elsewhere, want: "InvalidIdentityToken", says: "No OpenIDConnect provider found in your account for https://kubernetes.example/"},
		"an issuer without a provider is named":             {arn: role, token: claiming("iss", "https://other.example"), want: "InvalidIdentityToken", says: "in your account for https://other.example"},
		"another audience is incorrect":                     {arn: role, token: claiming("aud", []string{"vault"}), want: "InvalidIdentityToken", says: "Incorrect token audience"},
		"an expired token is told its times":                {arn: role, token: lived(-2*time.Hour, -time.Hour), want: "ExpiredTokenException", says: "Token expired: current date/time "},
		"a token expires at its very second":                {arn: role, token: lived(-time.Hour, 0), want: "ExpiredTokenException"},
		"a token of more than a day is too old":             {arn: role, token: lived(-25*time.Hour, time.Hour), want: "ExpiredTokenException", says: "Token too old: 9000"},
		"a token from the future is not valid":              {arn: role, token: lived(time.Minute, time.Hour), want: "InvalidIdentityToken", says: "not valid yet"},
		"a token without iat is not valid":                  {arn: role, token: claiming("iat", nil), want: "InvalidIdentityToken", says: "iat"},
		"a token without exp is not valid":                  {arn: role, token: claiming("exp", nil), want: "InvalidIdentityToken", says: "not a valid JWT"},
		"what is no token is not valid":                     {arn: role, token: text("not.a.token"), want: "InvalidIdentityToken", says: "not a valid JWT"},
		"a token signed by HS256 is not valid":              {arn: role, token: symmetric, want: "InvalidIdentityToken", says: "algorithm"},
		"a token that is not signed is not valid":           {arn: role, token: unsigned, want: "InvalidIdentityToken", says: "algorithm"},
		"a forged signature is not valid":                   {arn: role, token: forged, want: "InvalidIdentityToken", says: "signature"},
		"a claim changed after signing is not valid":        {arn: role, token: tampered, want: "InvalidIdentityToken", says: "signature"},
		"a key that the issuer does not publish is none":    {arn: role, token: unpublished, want: "InvalidIdentityToken", says: "Couldn't retrieve verification key"},
		"a token of more than 20000 characters is too long": {arn: role, token: text(strings.Repeat("t", 20001)), want: "ValidationError", says: "less than or equal to 20000"},
		"an empty token is too short":                       {arn: role, token: text(""), want: "ValidationError", says: "greater than or equal to 4"},
		"less than a quarter of an hour is invalid":         {arn: role, mod: lasting(899), want: "ValidationError"},
		"more than twelve hours is invalid":                 {arn: open, mod: lasting(43201), want: "ValidationError"},
		"more than the role allows is invalid":              {arn: role, mod: lasting(3601), want: "ValidationError", says: "MaxSessionDuration"},
		"a session name with colons is invalid":             {arn: role, mod: named, want: "ValidationError", says: "roleSessionName"},
		"a role of another partition is invalid":            {arn: china, want: "ValidationError", says: "Request ARN is invalid"},
	}
	cloud, _, i := webIdentity(t)
	cloud.AddRole(open, fakecloud.Trust{MaxDuration: 12 * time.Hour, WebIdentities: []fakecloud.WebIdentity{
		{Issuer: i.URL, Subject: "system:serviceaccount:team:*"},
	}})
	cloud.AddRole(noTrust, fakecloud.Trust{})
	cloud.AddRole(elsewhere, fakecloud.Trust{WebIdentities: []fakecloud.WebIdentity{{Issuer: i.URL}}})
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			token := i.token(t, awsAudience)
			if tt.token != nil {
				token = tt.token(t, i)
			}
			in := withWebIdentity(tt.arn, token)
			if tt.mod != nil {
				tt.mod(in)
			}
			_, err := stsClient(cloud, nil).AssumeRoleWithWebIdentity(t.Context(), in)
			if got := code(err); got != tt.want {
				t.Fatalf("error code is %q, want %q (%v)", got, tt.want, err)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.says) || len(token) > 4 && strings.Contains(err.Error(), token)) {
				t.Errorf("error %q does not say %q, or repeats the token", err, tt.says)
			}
		})
	}
}

// claiming makes a token with another value of a claim; nil leaves it out.
func claiming(name string, value any) func(*testing.T, *issuer) string {
	return func(t *testing.T, i *issuer) string {
		return i.token(t, awsAudience, map[string]any{name: value})
	}
}

// lived makes a token that was issued, and expires, at these times from now.
func lived(issued, expires time.Duration) func(*testing.T, *issuer) string {
	return func(t *testing.T, i *issuer) string {
		return i.token(t, awsAudience, map[string]any{"iat": i.ago(-issued), "nbf": i.ago(-issued), "exp": i.ago(-expires)})
	}
}

func text(s string) func(*testing.T, *issuer) string {
	return func(*testing.T, *issuer) string { return s }
}

// symmetric signs with what everybody knows, the ID of the public key.
func symmetric(t *testing.T, i *issuer) string {
	return signed(t, i.claims(awsAudience), jose.HS256,
		jose.JSONWebKey{Key: []byte(strings.Repeat("k", 32)), KeyID: i.key.KeyID})
}

func unsigned(t *testing.T, i *issuer) string {
	return "eyJhbGciOiJub25lIn0." + strings.Split(i.token(t, awsAudience), ".")[1] + "."
}

// forged is by another key under the ID of the issuer's.
func forged(t *testing.T, i *issuer) string {
	return signed(t, i.claims(awsAudience), jose.ES256, newKey(t, i.key.KeyID))
}

func tampered(t *testing.T, i *issuer) string {
	good := strings.Split(i.token(t, awsAudience, map[string]any{"sub": "system:serviceaccount:team:poor"}), ".")
	return good[0] + "." + strings.Split(i.token(t, awsAudience), ".")[1] + "." + good[2]
}

func unpublished(t *testing.T, i *issuer) string {
	return signed(t, i.claims(awsAudience), jose.ES256, newKey(t, "key-2"))
}

func TestTheKeysOfAnIssuerAreReadWhenTheyAreNeeded(t *testing.T) {
	cloud, _, i := webIdentity(t)
	assume := func(token string) string {
		_, err := stsClient(cloud, nil).AssumeRoleWithWebIdentity(t.Context(), withWebIdentity(role, token))
		return code(err)
	}
	if got := i.reads.Load(); got != 0 {
		t.Errorf("the keys were read %d times before any token came", got)
	}
	for range 2 {
		if got := assume(i.token(t, awsAudience)); got != "" {
			t.Error(got)
		}
	}
	if got := i.reads.Load(); got != 1 {
		t.Errorf("the keys were read %d times for one key, want 1", got)
	}
	next := newKey(t, "key-2")
	i.publishes(next)
	if got := assume(signed(t, i.claims(awsAudience), jose.ES256, next)); got != "" {
		t.Errorf("after a rotation: %s", got)
	}
	if got := i.reads.Load(); got != 2 {
		t.Errorf("the keys were read %d times for two keys, want 2", got)
	}
	if got := assume(i.token(t, awsAudience)); got != "InvalidIdentityToken" {
		t.Errorf("a key that is no longer published gives %q", got)
	}
}

func TestAnIssuerMayBeOutOfReach(t *testing.T) {
	tests := map[string]struct {
		server func(*issuer) fakecloud.Issuer
		want   string
		says   string
	}{
		"nobody answers": {func(i *issuer) fakecloud.Issuer {
			return fakecloud.Issuer{URL: i.URL, Server: "http://127.0.0.1:1"}
		}, "IDPCommunicationError", "could not be reached"},
		"the cloud may not read the keys": {func(i *issuer) fakecloud.Issuer {
			return fakecloud.Issuer{URL: i.URL, Server: i.server}
		}, "InvalidIdentityToken", "Couldn't retrieve verification key"},
		"the server is another issuer": {func(i *issuer) fakecloud.Issuer {
			return fakecloud.Issuer{URL: i.URL + "/", Server: i.server, Client: i.client}
		}, "InvalidIdentityToken", "Couldn't retrieve verification key"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cloud, _, i := webIdentity(t)
			replaced := tt.server(i)
			cloud.AddIssuer(replaced)
			cloud.AddOIDCProvider(other, replaced.URL)
			token := i.token(t, awsAudience, map[string]any{"iss": replaced.URL})
			_, err := stsClient(cloud, nil).AssumeRoleWithWebIdentity(t.Context(), withWebIdentity(role, token))
			if got := code(err); got != tt.want || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("the error is %v, want %s: %s", err, tt.want, tt.says)
			}
		})
	}
}

func TestFaultsOfSTSBefallWebIdentitiesToo(t *testing.T) {
	tests := map[fakecloud.FaultKind]string{
		fakecloud.Throttle:    "Throttling",
		fakecloud.ServerError: "InternalFailure",
		fakecloud.Denied:      "AccessDenied",
		fakecloud.Empty:       "",
	}
	cloud, _, i := webIdentity(t)
	for kind, want := range tests {
		t.Run(string(kind), func(t *testing.T) {
			cloud.Fail(fakecloud.STS, fakecloud.Fault{Kind: kind, Count: 1})
			assumed, err := stsClient(cloud, nil).AssumeRoleWithWebIdentity(t.Context(), withWebIdentity(role, i.token(t, awsAudience)))
			if got := code(err); got != want {
				t.Errorf("error code is %q, want %q", got, want)
			}
			if err == nil && assumed.Credentials != nil {
				t.Error("there are credentials")
			}
		})
	}
}

func TestARoleTrustsOneIssuerAndOneAudienceOfItsAccount(t *testing.T) {
	cloud, clock, i := webIdentity(t)
	second := newIssuer(t, cloud, clock)
	cloud.AddOIDCProvider(other, second.URL)
	cloud.AddOIDCProvider(other, i.URL, awsAudience, "second")
	for what, token := range map[string]string{
		"of another issuer":    second.token(t, awsAudience),
		"for another audience": i.token(t, "second"),
	} {
		_, err := stsClient(cloud, nil).AssumeRoleWithWebIdentity(t.Context(), withWebIdentity(role, token))
		if got := code(err); got != "AccessDenied" {
			t.Errorf("a token %s gives %q, want AccessDenied", what, got)
		}
	}
}

func TestASessionOfAWebIdentityExpires(t *testing.T) {
	cloud, clock, i := webIdentity(t)
	cloud.GrantECR(role, other)
	assumed, err := stsClient(cloud, nil).AssumeRoleWithWebIdentity(t.Context(), withWebIdentity(role, i.token(t, awsAudience)))
	if err != nil {
		t.Fatal(err)
	}
	clock.advance(time.Hour)
	client := ecrClient(cloud, session(assumed.Credentials), func(o *ecr.Options) { o.Retryer = eager() })
	if _, err := client.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{}); code(err) != "ExpiredTokenException" {
		t.Errorf("after an hour: %v, want ExpiredTokenException", err)
	}
}
