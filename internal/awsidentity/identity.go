// Package awsidentity is how the providers of AWS call it: as whom, within
// which limits, and what its answers mean.
//
// An access key and a ServiceAccount are used by themselves: no environment,
// no shared files, no metadata service, so that the operator's own identity is
// never lent to whoever wrote a source. Only the operator's own identity,
// which must be asked for, looks there.
package awsidentity

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

const (
	// ApplicationID tells AWS's logs who is calling.
	ApplicationID = "imagepullsecret-operator"
	// maxAttempts bounds the SDK's own retries of one call.
	maxAttempts = 3
)

// NewRetryer returns the retryer of one of the SDK's clients.
func NewRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = maxAttempts })
}

// Identity is who calls AWS in one region. It is safe for concurrent use.
// Create it by New.
type Identity struct {
	config Config
	region Region
	// chain are the roles that are assumed in turn by a signed call.
	chain       []Role
	sessionName string

	client *http.Client
	newSTS func(sts.Options) stsAPI
}

// New checks a configuration, without any connection, and returns its
// Identity. The error is of class Invalid and names everything that is wrong.
// In the zero Region, the roles' partition isn't checked.
//
// The client carries the calls; nil stands for the one that is shared by the
// whole process. Whatever the client's own settings are, redirects aren't
// followed and bodies are limited.
func New(config Config, region Region, client *http.Client) (*Identity, error) {
	config = config.trimmed()
	var problems exchange.Problems
	config.check(&problems, region)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if client == nil {
		client = exchange.Shared()
	}
	chain := config.AssumeRoles
	if config.hasAccessKey() && config.RoleARN != "" {
		chain = slices.Concat([]Role{{RoleARN: config.RoleARN}}, chain)
	}
	return &Identity{
		config:      config,
		region:      region,
		chain:       chain,
		sessionName: sessionName(config.ServiceAccount),
		client:      client,
		newSTS:      func(options sts.Options) stsAPI { return sts.New(options) },
	}, nil
}

// Key identifies what a service of that name gives this identity: it covers
// the region, its endpoints and everything that decides on who is calling.
func (i *Identity) Key(service string) string {
	return providers.HashKey(append([]string{service}, fields(i.config, i.region)...)...)
}

// fields lists the further roles last, since there are any number of them.
func fields(c Config, region Region) []string {
	list := []string{
		region.Name, strconv.FormatBool(region.Variant.FIPS), strconv.FormatBool(region.Variant.DualStack),
		c.AccessKeyID, c.SecretAccessKey, c.Audience, strconv.FormatBool(c.Ambient), c.RoleARN,
	}
	list = append(list, c.ServiceAccount.Fields()...)
	for _, role := range c.AssumeRoles {
		list = append(list, role.RoleARN, role.ExternalID)
	}
	return list
}

// Hosts are those that an exchange with a service depends on: that of STS if a
// role is assumed, and the service's own. Where the operator's own identity
// comes from is the business of the SDK.
func (i *Identity) Hosts(service string) []string {
	if i.config.hasServiceAccount() || len(i.chain) > 0 {
		return []string{i.region.STSHost, service}
	}
	return []string{service}
}

// String hides the access key, so that an Identity may be printed by mistake.
func (i *Identity) String() string { return i.config.String() + " in " + i.region.Name }

// GoString hides the secret key under %#v too.
func (i *Identity) GoString() string { return i.String() }

// maxSessionName is STS's limit on RoleSessionName.
const maxSessionName = 64

// notInSessionName is what RoleSessionName must not hold.
var notInSessionName = regexp.MustCompile(`[^\w+=,.@-]`)

// sessionName stands in CloudTrail and in the ARN that AWS names in its
// refusals, so that both tell who it was.
func sessionName(account providers.ServiceAccount) string {
	if account == (providers.ServiceAccount{}) {
		return ApplicationID
	}
	name := notInSessionName.ReplaceAllString(ApplicationID+"@"+account.Namespace+"."+account.Name, "-")
	return name[:min(len(name), maxSessionName)]
}

// Begin starts one exchange. now is this machine's clock.
func (i *Identity) Begin(env providers.Env, now func() time.Time) *Exchange {
	return &Exchange{
		identity: i,
		env:      env,
		now:      now,
		http:     &recorder{},
		scrub:    exchange.NewScrubber(i.config.SecretAccessKey, i.config.AccessKeyID),
	}
}
