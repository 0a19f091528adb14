package awsidentity

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// Config says who calls AWS: exactly one of an access key, a ServiceAccount
// and the operator itself. White space around a value is ignored: `echo … |
// base64` leaves a line break at the end.
type Config struct {
	// AccessKeyID and SecretAccessKey are the access key of an IAM user. A
	// key of temporary credentials is refused, since it ends within hours and
	// nothing would renew it.
	AccessKeyID     string
	SecretAccessKey string

	// ServiceAccount is whose token, for Audience, is exchanged for a session
	// of RoleARN (AssumeRoleWithWebIdentity).
	ServiceAccount providers.ServiceAccount
	// Audience stands in the identity provider of the role's account;
	// sts.amazonaws.com if empty.
	Audience string

	// Ambient is the operator's own identity: its environment, role for
	// service accounts, EKS Pod Identity or instance role. Whether it may be
	// lent is for the caller to decide before New.
	Ambient bool

	// RoleARN is the first role. A ServiceAccount needs one; with an access
	// key it may be empty; the operator's own identity has AssumeRoles only.
	RoleARN string
	// AssumeRoles are further roles to assume in turn, each by the session of
	// the one before it.
	AssumeRoles []Role
}

// Role is a role to assume.
type Role struct {
	RoleARN string
	// ExternalID is what the trust policy demands as sts:ExternalId. It may
	// be empty.
	ExternalID string
}

// String leaves out the access key, so that a Config may be printed by mistake.
func (c Config) String() string {
	switch {
	case c.Ambient:
		return "the operator's own identity"
	case c.hasServiceAccount():
		return "ServiceAccount " + c.ServiceAccount.String() + " as " + shownARN(c.RoleARN)
	default:
		return "an access key"
	}
}

// GoString hides the secret key under %#v too.
func (c Config) GoString() string { return c.String() }

// defaultAudience is what AWS's own tools put into an identity provider, in
// every partition.
const defaultAudience = "sts.amazonaws.com"

// maxRoles bounds AssumeRoles: each costs a call.
const maxRoles = 5

// maxExternalID is STS's limit on ExternalId.
const maxExternalID = 1224

// The forms of values. The external ID's is STS's own.
var (
	accessKeyPattern  = regexp.MustCompile(`^\w{1,128}$`)
	rolePattern       = regexp.MustCompile(`^role/[\w+=,.@/-]{1,576}$`)
	externalIDPattern = regexp.MustCompile(`^[\w+=,.@:/-]{2,}$`)
)

// AccountPattern is the form of an account's ID.
var AccountPattern = regexp.MustCompile(`^\d{12}$`)

// temporaryKeyPrefix is how the ids of temporary credentials begin.
const temporaryKeyPrefix = "ASIA"

func (c Config) hasAccessKey() bool { return c.AccessKeyID != "" || c.SecretAccessKey != "" }

func (c Config) hasServiceAccount() bool { return c.ServiceAccount != providers.ServiceAccount{} }

func (c Config) trimmed() Config {
	exchange.Trim(&c.AccessKeyID, &c.SecretAccessKey, &c.RoleARN, &c.Audience,
		&c.ServiceAccount.Namespace, &c.ServiceAccount.Name, &c.ServiceAccount.UID)
	c.AssumeRoles = slices.Clone(c.AssumeRoles)
	for i := range c.AssumeRoles {
		exchange.Trim(&c.AssumeRoles[i].RoleARN, &c.AssumeRoles[i].ExternalID)
	}
	if c.hasServiceAccount() && c.Audience == "" {
		c.Audience = defaultAudience
	}
	return c
}

// check notes all that is wrong with a trimmed configuration. The roles'
// partition isn't looked at if the region's is unknown.
func (c Config) check(problems *exchange.Problems, region Region) {
	c.checkKind(problems)
	if c.hasAccessKey() {
		c.checkAccessKeyID(problems)
		c.checkSecretKey(problems)
	}
	if c.hasServiceAccount() {
		problems.Account(c.ServiceAccount)
		problems.Audience(c.Audience)
	} else if c.Audience != "" {
		problems.Notef("audience is that of serviceAccount's token: set serviceAccount too")
	}
	c.checkRole(problems, region)
	if len(c.AssumeRoles) > maxRoles {
		problems.Notef("assumeRoles has %d roles, at most %d are allowed", len(c.AssumeRoles), maxRoles)
	}
	for i, role := range c.AssumeRoles {
		name := fmt.Sprintf("assumeRoles[%d]", i)
		checkARN(problems, name+".roleARN", role.RoleARN, region)
		if len(role.ExternalID) > maxExternalID || role.ExternalID != "" && !externalIDPattern.MatchString(role.ExternalID) {
			problems.Notef("%s.externalID must match %s in at most %d characters, not %s",
				name, externalIDPattern, maxExternalID, exchange.Shown(role.ExternalID))
		}
	}
}

func (c Config) checkKind(problems *exchange.Problems) {
	kinds := 0
	for _, given := range []bool{c.hasAccessKey(), c.hasServiceAccount(), c.Ambient} {
		if given {
			kinds++
		}
	}
	switch {
	case kinds == 0:
		problems.Notef("nobody is named to call AWS: give an access key, or serviceAccount with roleARN, or choose the operator's own identity")
	case kinds > 1:
		problems.Notef("more than one is named to call AWS: an access key, serviceAccount and the operator's own identity exclude one another")
	}
}

// checkAccessKeyID does not quote the value, which may be the secret key in
// the wrong place.
func (c Config) checkAccessKeyID(problems *exchange.Problems) {
	switch {
	case c.AccessKeyID == "":
		problems.Notef("accessKeyID is empty")
	case !accessKeyPattern.MatchString(c.AccessKeyID):
		problems.Notef("accessKeyID must match %s; is it swapped with secretKey?", accessKeyPattern)
	case strings.HasPrefix(c.AccessKeyID, temporaryKeyPrefix):
		problems.Notef("accessKeyID begins with %s, so it is of temporary credentials, which end within hours: use the access key of an IAM user",
			temporaryKeyPrefix)
	}
}

func (c Config) checkSecretKey(problems *exchange.Problems) {
	switch {
	case c.SecretAccessKey == "":
		problems.Notef("secretKey is empty")
	case strings.ContainsFunc(c.SecretAccessKey, exchange.NotVisibleASCII):
		problems.Notef("secretKey contains white space or a character that no secret access key has")
	}
}

// checkRole calls the role as whoever set it knows it: a Secret with an access
// key spells it otherwise.
func (c Config) checkRole(problems *exchange.Problems, region Region) {
	switch {
	case c.RoleARN == "" && c.hasServiceAccount():
		problems.Notef("roleARN is empty: serviceAccount needs the role that trusts it")
	case c.RoleARN == "":
	case c.Ambient:
		problems.Notef("roleARN is the role that trusts serviceAccount: name the roles of the operator's own identity in assumeRoles")
	case c.hasAccessKey():
		checkARN(problems, "roleArn", c.RoleARN, region)
	default:
		checkARN(problems, "roleARN", c.RoleARN, region)
	}
}

// checkARN notes what is wrong with a role's ARN.
func checkARN(problems *exchange.Problems, name, value string, region Region) {
	role, err := arn.Parse(value)
	switch {
	case err != nil || role.Service != "iam" || role.Region != "" ||
		!AccountPattern.MatchString(role.AccountID) || !rolePattern.MatchString(role.Resource):
		problems.Notef("%s must be a role's ARN, such as arn:aws:iam::111122223333:role/pull, not %s", name, shownARN(value))
	case region.Partition != "" && role.Partition != region.Partition:
		problems.Notef("%s is of partition %s, but region %s is of partition %s: a role can't be used across partitions",
			name, exchange.Shown(role.Partition), region.Name, region.Partition)
	}
}

// maxShownARN is the length up to which an ARN is quoted. ARNs are no secrets.
const maxShownARN = 256

// shownARN quotes what should be an ARN for a message, unless it may be a
// secret.
func shownARN(value string) string {
	if arn.IsARN(value) && len(value) <= maxShownARN {
		return fmt.Sprintf("%q", value)
	}
	return exchange.Shown(value)
}
