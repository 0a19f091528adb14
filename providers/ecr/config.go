package ecr

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/imagepullsecrets/operator/providers"
)

// Config says whose registry to open, and as whom. White space around a value
// is ignored: `echo … | base64` leaves a line break at the end.
type Config struct {
	// AccessKeyID and SecretAccessKey are the access key of an IAM user. A
	// key of temporary credentials is refused, since it ends within hours and
	// nothing would renew it.
	AccessKeyID     string
	SecretAccessKey string
	// Region is the registry's region; it decides on the partition.
	Region string
	// AccountID is the account that the registry belongs to. It need not be
	// the account of the access key or of the role.
	AccountID string
	// RoleARN is a role to assume first. It may be empty.
	RoleARN string
	// UseFIPS makes the exchange with FIPS endpoints and adds the login for
	// the registry's FIPS host.
	UseFIPS bool
	// UseDualStack makes the exchange with dual-stack (IPv6) endpoints and
	// adds the login for the registry's dual-stack host.
	UseDualStack bool
}

// String leaves out the access key, so that a Config may be printed by mistake.
func (c Config) String() string {
	return fmt.Sprintf("%s %s in %s", Name, shown(c.AccountID), shown(c.Region))
}

// GoString hides the secret key under %#v too.
func (c Config) GoString() string { return c.String() }

// The forms of values. The region's is wide enough for regions to come; which
// regions there are is the SDK's business.
var (
	accessKeyPattern = regexp.MustCompile(`^\w{1,128}$`)
	accountPattern   = regexp.MustCompile(`^\d{12}$`)
	regionPattern    = regexp.MustCompile(`^[a-z]{2,8}(-[a-z]{2,16}){1,3}-[0-9]{1,2}$`)
	rolePattern      = regexp.MustCompile(`^role/[\w+=,.@/-]{1,576}$`)
)

// temporaryKeyPrefix is how the ids of temporary credentials begin.
const temporaryKeyPrefix = "ASIA"

func (c Config) trimmed() Config {
	for _, value := range []*string{&c.AccessKeyID, &c.SecretAccessKey, &c.Region, &c.AccountID, &c.RoleARN} {
		*value = strings.TrimSpace(*value)
	}
	return c
}

// validate returns the endpoints that a trimmed configuration leads to. The
// error names all problems at once, so that one edit is enough.
func (c Config) validate(resolve resolver) (endpoints, error) {
	var problems []string
	note := func(problem string) {
		if problem != "" {
			problems = append(problems, problem)
		}
	}
	note(c.accessKeyProblem())
	note(c.secretKeyProblem())
	note(c.accountProblem())
	found, problem := c.findEndpoints(resolve)
	note(problem)
	note(c.roleProblem(found.partition))
	if len(problems) > 0 {
		return endpoints{}, providers.Errorf(providers.Invalid, "%s", strings.Join(problems, "; "))
	}
	return found, nil
}

// accessKeyProblem does not quote the value, which may be the secret key in
// the wrong place.
func (c Config) accessKeyProblem() string {
	switch {
	case c.AccessKeyID == "":
		return "accessKeyID is empty"
	case !accessKeyPattern.MatchString(c.AccessKeyID):
		return fmt.Sprintf("accessKeyID must match %s; is it swapped with secretKey?", accessKeyPattern)
	case strings.HasPrefix(c.AccessKeyID, temporaryKeyPrefix):
		return "accessKeyID begins with " + temporaryKeyPrefix +
			", so it is of temporary credentials, which end within hours: use the access key of an IAM user"
	default:
		return ""
	}
}

func (c Config) secretKeyProblem() string {
	switch {
	case c.SecretAccessKey == "":
		return "secretKey is empty"
	case strings.ContainsFunc(c.SecretAccessKey, notPrintableASCII):
		return "secretKey contains white space or a character that no secret access key has"
	default:
		return ""
	}
}

func notPrintableASCII(r rune) bool { return r <= ' ' || r > '~' }

func (c Config) accountProblem() string {
	switch {
	case c.AccountID == "":
		return "accountID is empty"
	case !accountPattern.MatchString(c.AccountID):
		return fmt.Sprintf("accountID must match %s, not %s", accountPattern, shown(c.AccountID))
	default:
		return ""
	}
}

func (c Config) findEndpoints(resolve resolver) (endpoints, string) {
	switch {
	case c.Region == "":
		return endpoints{}, "region is empty"
	case !regionPattern.MatchString(c.Region):
		return endpoints{}, fmt.Sprintf("region must match %s, such as eu-central-1, not %s", regionPattern, shown(c.Region))
	case strings.HasPrefix(c.Region, "fips-"):
		// The SDK would take it for a region with FIPS switched on, and the
		// registry's host would be wrong.
		return endpoints{}, fmt.Sprintf("region must be a region's plain name, not %s: set useFIPS instead", shown(c.Region))
	}
	found, err := findEndpoints(resolve, c.Region, c.UseFIPS, c.UseDualStack)
	if err != nil {
		return endpoints{}, err.Error()
	}
	return found, ""
}

// roleProblem checks the role against the region's partition, unless that is
// unknown.
func (c Config) roleProblem(partition string) string {
	if c.RoleARN == "" {
		return ""
	}
	role, err := arn.Parse(c.RoleARN)
	if err != nil || role.Service != "iam" || role.Region != "" ||
		!accountPattern.MatchString(role.AccountID) || !rolePattern.MatchString(role.Resource) {
		return "roleArn must be a role's ARN, such as arn:aws:iam::111122223333:role/pull, not " + shown(c.RoleARN)
	}
	if partition != "" && role.Partition != partition {
		return fmt.Sprintf("roleArn is of partition %s, but region %s is of partition %s: a role can't be used across partitions",
			shown(role.Partition), c.Region, partition)
	}
	return ""
}

// maxShown is the length up to which a value is quoted. Secret access keys are
// longer, so one in the wrong place isn't shown.
const maxShown = 32

// shown quotes a value for a message, unless it may be a secret.
func shown(value string) string {
	length := utf8.RuneCountInString(value)
	switch {
	case length <= maxShown:
		return fmt.Sprintf("%q", value)
	case arn.IsARN(value) && length <= maxDescription:
		return fmt.Sprintf("%q", value)
	default:
		return fmt.Sprintf("a value of %d characters", length)
	}
}
