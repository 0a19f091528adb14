package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
)

// aws is the entry's identity, nil if it is none of AWS's.
func (b *broken) aws() *v1alpha1.AWSIdentity {
	switch {
	case b.Entry.ECR != nil:
		return &b.Entry.ECR.AWSIdentity
	case b.Entry.ECRPublic != nil:
		return &b.Entry.ECRPublic.AWSIdentity
	default:
		return nil
	}
}

// trust gives the entry's role a trust policy that is not quite as it should be.
func (b *broken) trust(change func(*fakecloud.Trust)) {
	trust := fakecloud.Trust{WebIdentities: []fakecloud.WebIdentity{
		{Issuer: b.id.Issuer, Audience: "sts.amazonaws.com", Subject: b.id.Subject()},
	}}
	change(&trust)
	shared.cloud.AddRole(string(b.aws().RoleARN), trust)
}

// trusting breaks the role's trust policy.
func trusting(change func(*fakecloud.Trust)) func(*testing.T, *broken) func() {
	return inCloud(
		func(b *broken) { b.trust(change) },
		func(b *broken) { b.trust(func(*fakecloud.Trust) {}) },
	)
}

// as changes the identity in an entry.
func as(change func(*v1alpha1.AWSIdentity)) func(*testing.T, *broken) func() {
	return inEntry(func(entry *v1alpha1.CredentialSource) { change(&entry.ECR.AWSIdentity) })
}

// inAccount breaks something of the role's account in its region.
func inAccount(spoil, mend func(account, region string)) func(*testing.T, *broken) func() {
	return inCloud(
		func(b *broken) { spoil(b.Entry.ECR.AccountID, b.Entry.ECR.Region) },
		func(b *broken) { mend(b.Entry.ECR.AccountID, b.Entry.ECR.Region) },
	)
}

// ofTheGallery breaks something of the role; the entry then gets another one,
// as nothing else of it can be touched.
func ofTheGallery(spoil func(role string)) func(*testing.T, *broken) func() {
	return func(_ *testing.T, b *broken) func() {
		spoil(string(b.aws().RoleARN))
		return func() { b.Entry = federation.ECRPublic(shared.cloud, b.id, number()).Entry }
	}
}

const (
	webIdentityAt = "sts:AssumeRoleWithWebIdentity at sts.eu-central-1.amazonaws.com: "
	noTrustHint   = "let the trust policy of {role} allow it to the OIDC provider of {issuer} with :sub {subject} and :aud sts.amazonaws.com"
	noRoleHint    = "let the trust policy of {last} name {role}, and grant the latter sts:AssumeRole on the role"
	galleryHint   = "grant ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken on resource * to {role}"
)

// What can be wrong between a ServiceAccount and AWS.
var brokenAWS = map[string]brokenSource{
	"the role trusts another ServiceAccount": {
		federation.ECR, trusting(func(trust *fakecloud.Trust) { trust.WebIdentities[0].Subject += "-2" }), v1alpha1.ReasonDenied,
		[]string{webIdentityAt + "AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity", noTrustHint},
	},
	"the role trusts another audience": {
		federation.ECR, trusting(func(trust *fakecloud.Trust) { trust.WebIdentities[0].Audience = "another" }), v1alpha1.ReasonDenied,
		[]string{webIdentityAt + "AccessDenied: ", noTrustHint},
	},
	"the role trusts nobody": {
		federation.ECR, trusting(func(trust *fakecloud.Trust) { trust.WebIdentities = nil }), v1alpha1.ReasonDenied,
		[]string{webIdentityAt + "AccessDenied: ", noTrustHint},
	},
	"there is no such role": {
		federation.ECR, as(func(aws *v1alpha1.AWSIdentity) { aws.RoleARN += "-2" }), v1alpha1.ReasonDenied,
		[]string{webIdentityAt + "AccessDenied: ", noTrustHint},
	},
	"the token is for an audience that the identity provider does not have": {
		federation.ECR, as(func(aws *v1alpha1.AWSIdentity) { aws.Audience = "another" }), v1alpha1.ReasonSourceInvalid,
		[]string{
			webIdentityAt + "InvalidIdentityToken: Incorrect token audience",
			"let IAM in the account of {role} have an OIDC provider for {issuer} with the audience another",
		},
	},
	"the account has no identity provider for the cluster's issuer": {
		federation.ECR, inCloud(withoutProvider, withProvider), v1alpha1.ReasonSourceInvalid,
		[]string{
			webIdentityAt + "InvalidIdentityToken: No OpenIDConnect provider found in your account for {issuer}",
			"let IAM in the account of {role} have an OIDC provider for {issuer} with the audience sts.amazonaws.com",
		},
	},
	"the token is too old for STS": {
		federation.ECR, inPassing(
			func(b *broken) { shared.cloud.LimitTokenAge(b.Entry.ECR.AccountID, time.Nanosecond) },
			func(b *broken) { shared.cloud.LimitTokenAge(b.Entry.ECR.AccountID, 0) },
		), v1alpha1.ReasonClockSkew,
		[]string{webIdentityAt + "ExpiredTokenException: Token too old: ", "set the clocks of the cluster's API servers right"},
	},
	"the session is longer than the role allows": {
		federation.ECR, trusting(func(trust *fakecloud.Trust) { trust.MaxDuration = time.Minute }), v1alpha1.ReasonSourceInvalid,
		[]string{webIdentityAt + "ValidationError: The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
	},
	"STS is switched off in the region": {
		federation.ECR, inAccount(
			func(account, region string) { shared.cloud.DisableSTS(account, region) },
			func(account, region string) { shared.cloud.EnableSTS(account, region) },
		), v1alpha1.ReasonSourceInvalid,
		[]string{
			webIdentityAt + "RegionDisabledException: STS is not activated in this region for account:",
			"activate STS for the region in the account's settings",
		},
	},
	"the second role of a chain does not trust the first": {
		federation.ECRChained, secondRole(fakecloud.Trust{}), v1alpha1.ReasonDenied,
		[]string{"sts:AssumeRole at sts.eu-central-1.amazonaws.com: AccessDenied: User: arn:aws:sts::", noRoleHint},
	},
	"the second role of a chain does not exist": {
		federation.ECRChained, as(func(aws *v1alpha1.AWSIdentity) { aws.AssumeRoles[0].RoleARN += "-2" }), v1alpha1.ReasonDenied,
		[]string{"sts:AssumeRole at sts.eu-central-1.amazonaws.com: AccessDenied: ", noRoleHint},
	},
	"the external ID is another": {
		federation.ECRChained, as(func(aws *v1alpha1.AWSIdentity) { aws.AssumeRoles[0].ExternalID = "another" }), v1alpha1.ReasonDenied,
		[]string{"sts:AssumeRole at sts.eu-central-1.amazonaws.com: AccessDenied: ", noRoleHint + "; its sts:ExternalId must be the configured externalID"},
	},
	"the external ID is missing": {
		federation.ECRChained, as(func(aws *v1alpha1.AWSIdentity) { aws.AssumeRoles[0].ExternalID = "" }), v1alpha1.ReasonDenied,
		[]string{"sts:AssumeRole at sts.eu-central-1.amazonaws.com: AccessDenied: ", noRoleHint},
	},
	"the role has no permission on ECR": {
		federation.ECR, inCloud(
			func(b *broken) { shared.cloud.RevokeECR(string(b.aws().RoleARN)) },
			func(b *broken) { shared.cloud.GrantECR(string(b.aws().RoleARN), b.Entry.ECR.AccountID) },
		), v1alpha1.ReasonDenied,
		[]string{
			"ecr:GetAuthorizationToken at api.ecr.eu-central-1.amazonaws.com: AccessDeniedException: User: arn:aws:sts::",
			"grant ecr:GetAuthorizationToken on resource * to {role}",
		},
	},
	"the role has no permission on ECR Public": {
		federation.ECRPublic, ofTheGallery(func(role string) { shared.cloud.RevokeECR(role) }), v1alpha1.ReasonDenied,
		[]string{
			"ecr-public:GetAuthorizationToken at api.ecr-public.us-east-1.amazonaws.com: AccessDeniedException: ",
			"is not authorized to perform: ecr-public:GetAuthorizationToken on resource: *", galleryHint,
		},
	},
	"the role may not get bearer tokens for ECR Public": {
		federation.ECRPublic, ofTheGallery(func(role string) { shared.cloud.RevokeBearerToken(role) }), v1alpha1.ReasonDenied,
		[]string{
			"ecr-public:GetAuthorizationToken at api.ecr-public.us-east-1.amazonaws.com: AccessDeniedException: ",
			"is not authorized to perform: sts:GetServiceBearerToken on resource: *", galleryHint,
		},
	},
}

// withoutProvider moves the entry's role into an account that knows nothing of
// the cluster.
func withoutProvider(b *broken) {
	arn := fmt.Sprintf("arn:aws:iam::%012d:role/pull", 600000000000+number())
	b.aws().RoleARN = v1alpha1.AWSRoleARN(arn)
	b.trust(func(*fakecloud.Trust) {})
	shared.cloud.GrantECR(arn, b.Entry.ECR.AccountID)
}

func withProvider(b *broken) {
	account := string(b.aws().RoleARN)[len("arn:aws:iam::"):][:12]
	shared.cloud.AddOIDCProvider(account, b.id.Issuer)
}

// secondRole replaces the trust policy of the last role of a chain.
func secondRole(trust fakecloud.Trust) func(*testing.T, *broken) func() {
	return inCloud(
		func(b *broken) { shared.cloud.AddRole(string(b.aws().AssumeRoles[0].RoleARN), trust) },
		func(b *broken) {
			last := b.aws().AssumeRoles[0]
			shared.cloud.AddRole(string(last.RoleARN), fakecloud.Trust{Principals: []string{string(b.aws().RoleARN)}, ExternalID: last.ExternalID})
		},
	)
}

func TestBadAWSTrustIsToldAndMended(t *testing.T) {
	for sentence, bad := range brokenAWS {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			bad.check(t)
		})
	}
}

// further adds a registry to an entry.
func further(host v1alpha1.RegistryHost) func(*testing.T, *broken) func() {
	return inEntry(func(entry *v1alpha1.CredentialSource) { entry.ECR.Registries = []v1alpha1.RegistryHost{host} })
}

// Entries that nobody is asked about. The tests count requests, so they follow
// one another.
var refusedAWS = map[string]brokenSource{
	"a registry that begins like one of ECR's": {
		federation.ECR, further("111122223333.dkr.ecr.eu-central-1.amazonaws.com.evil.example"), v1alpha1.ReasonSourceInvalid,
		[]string{
			`spec.registry.credentials[0].ecr: registries: "111122223333.dkr.ecr.eu-central-1.amazonaws.com.evil.example" is not AWS's; ` +
				"in region eu-central-1 a registry's host is the account's ID and one of .dkr.ecr.eu-central-1.amazonaws.com, ",
		},
	},
	"a registry that ends like one of ECR's": {
		federation.ECR, further("evil.example.111122223333.dkr.ecr.eu-central-1.amazonaws.com"), v1alpha1.ReasonSourceInvalid,
		[]string{`"evil.example.111122223333.dkr.ecr.eu-central-1.amazonaws.com" is not a private registry's host, such as 111122223333.dkr.ecr.eu-central-1.amazonaws.com`},
	},
	"a registry in somebody else's domain": {
		federation.ECR, further("111122223333.dkr.ecr.eu-central-1.evil.example"), v1alpha1.ReasonSourceInvalid,
		[]string{`"111122223333.dkr.ecr.eu-central-1.evil.example" is not AWS's`},
	},
	"a registry of another partition": {
		federation.ECR, further("111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn"), v1alpha1.ReasonSourceInvalid,
		[]string{`is of region "cn-north-1", but a login opens registries of its own region only: give that region a credential of its own`},
	},
	"a role of another partition": {
		federation.ECR, as(func(aws *v1alpha1.AWSIdentity) { aws.RoleARN = "arn:aws-cn:iam::111122223333:role/pull" }), v1alpha1.ReasonSourceInvalid,
		[]string{`spec.registry.credentials[0].ecr: roleARN is of partition "aws-cn", but region eu-central-1 is of partition aws: a role can't be used across partitions`},
	},
	"a second role of another partition": {
		federation.ECRChained, as(func(aws *v1alpha1.AWSIdentity) {
			aws.AssumeRoles[0].RoleARN = "arn:aws-us-gov:iam::111122223333:role/pull"
		}), v1alpha1.ReasonSourceInvalid,
		[]string{`assumeRoles[0].roleARN is of partition "aws-us-gov", but region eu-central-1 is of partition aws`},
	},
	"a role for ECR Public that is of another partition": {
		federation.ECRPublic, inEntry(func(entry *v1alpha1.CredentialSource) {
			entry.ECRPublic.RoleARN = "arn:aws-cn:iam::111122223333:role/pull"
		}), v1alpha1.ReasonSourceInvalid,
		[]string{`spec.registry.credentials[0].ecrPublic: roleARN is of partition "aws-cn", but region us-east-1 is of partition aws`},
	},
	"the operator's own identity, for ECR": {
		federation.ECR, as(func(aws *v1alpha1.AWSIdentity) { *aws = v1alpha1.AWSIdentity{} }), v1alpha1.ReasonSourceInvalid, ownNotAllowed("ecr", "aws"),
	},
	"the operator's own identity, for a role": {
		federation.ECRChained, as(func(aws *v1alpha1.AWSIdentity) { aws.ServiceAccount, aws.RoleARN = nil, "" }), v1alpha1.ReasonSourceInvalid, ownNotAllowed("ecr", "aws"),
	},
	"the operator's own identity, for ECR Public": {
		federation.ECRPublic, inEntry(func(entry *v1alpha1.CredentialSource) { *entry.ECRPublic = v1alpha1.ECRPublicSource{} }), v1alpha1.ReasonSourceInvalid,
		ownNotAllowed("ecrPublic", "aws"),
	},
}

// ownNotAllowed says which flag and which value of the chart would allow the
// operator's own identity.
func ownNotAllowed(kind, cloud string) []string {
	return []string{
		"spec.registry.credentials[0]." + kind + ": it names no serviceAccount, so it would use the operator's own identity, which the operator's configuration does not allow: " +
			"add serviceAccount, or run the operator with --ambient-credentials=" + cloud + " (chart: credentials.ambient)",
	}
}

func TestBadAWSEntriesAreRefusedBeforeAnybodyIsAsked(t *testing.T) {
	checkRefused(t, refusedAWS)
}

func checkRefused(t *testing.T, tests map[string]brokenSource) {
	t.Helper()
	for sentence, bad := range tests {
		t.Run(sentence, func(t *testing.T) {
			before := exchanges()
			b := bad.start(t)
			bad.expect(t, b)
			expectNothingAsked(t, before)
			b.expectMended(t)
		})
	}
}

// Keys of the cluster that AWS does not get, whoever asks, so these tests
// follow one another.
var keylessAWS = map[string]brokenSource{
	"AWS can't reach the cluster's issuer": {
		federation.ECR, withIssuerAt(nowhere), v1alpha1.ReasonUnavailable,
		[]string{webIdentityAt + "IDPCommunicationError: "},
	},
	"AWS may not read the cluster's keys": {
		federation.ECR, withIssuerAt(withoutAnything), v1alpha1.ReasonUnavailable,
		[]string{webIdentityAt + "InvalidIdentityToken: Couldn't retrieve verification key from your identity provider"},
	},
}

// nowhere is an address that nobody answers at.
func nowhere(*testing.T) string { return "http://127.0.0.1:1" }

// withoutAnything is a server that has nothing.
func withoutAnything(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	return server.URL
}

func TestBadAWSWithoutTheClustersKeysIsToldAndPasses(t *testing.T) {
	for sentence, bad := range keylessAWS {
		t.Run(sentence, func(t *testing.T) { bad.check(t) })
	}
}
