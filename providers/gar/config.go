package gar

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// googleUniverse is the universe of everybody who doesn't say otherwise.
const googleUniverse = "googleapis.com"

// Config says which registries to open, and as whom: either as a
// ServiceAccount that a workload identity pool trusts, or, if Ambient, as the
// operator itself. White space around a value is ignored.
type Config struct {
	// Registries are the hosts that the login opens, such as
	// europe-west1-docker.pkg.dev or gcr.io.
	Registries []string
	// ServiceAccount is the Kubernetes identity; it goes with
	// WorkloadIdentityProvider or GKECluster.
	ServiceAccount providers.ServiceAccount
	// WorkloadIdentityProvider is the provider that trusts the ServiceAccount:
	// projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>,
	// also behind //iam.googleapis.com/ or https://iam.googleapis.com/.
	WorkloadIdentityProvider string
	// GKECluster is the GKE cluster whose project's own pool trusts the
	// ServiceAccount: projects/<id>/locations/<location>/clusters/<name>.
	GKECluster string
	// Audience of the ServiceAccount's token; empty for the one that the
	// WorkloadIdentityProvider takes if nobody changed that.
	Audience string
	// GoogleServiceAccount is the email of the Google service account to
	// impersonate; empty to open the registry as the federated identity.
	GoogleServiceAccount string
	// Delegates are emails of Google service accounts, each of which may
	// impersonate the next, the last of them GoogleServiceAccount.
	Delegates []string
	// UniverseDomain is that of a sovereign cloud; empty for googleapis.com.
	// Tokens are sent to hosts in it.
	UniverseDomain string
	// Ambient uses the operator's own Google identity. Whether that is allowed
	// is the caller's decision.
	Ambient bool
}

// The forms of values.
var (
	// Not every service account is in iam.gserviceaccount.com: emails are
	// checked for what would break the path that they become part of.
	emailPattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*@[a-z0-9][a-z0-9.-]*\.[a-z]{2,}$`)
	universePattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$`)
)

const (
	maxEmail    = 320
	maxAudience = 1024
	// maxUniverse leaves room for "iamcredentials." in a host's 253 characters.
	maxUniverse = 238
)

// normalised returns the configuration in the one way to write it, so that
// equal identities have equal keys.
func (c Config) normalised() Config {
	exchange.Trim(
		&c.ServiceAccount.Namespace, &c.ServiceAccount.Name, &c.ServiceAccount.UID,
		&c.WorkloadIdentityProvider, &c.GKECluster, &c.Audience, &c.GoogleServiceAccount, &c.UniverseDomain)
	c.Registries, c.Delegates = exchange.Trimmed(c.Registries), exchange.Trimmed(c.Delegates)
	if c.UniverseDomain == "" {
		c.UniverseDomain = googleUniverse
	}
	return c
}

// validate returns the pool that a normalised configuration names, or all
// problems at once.
func (c Config) validate() (pool, error) {
	var problems exchange.Problems
	c.checkRegistries(&problems)
	if !c.hasUniverse() {
		problems.Notef("universeDomain must be a domain in lower case, such as googleapis.com, not %s", shown(c.UniverseDomain))
	}
	c.checkIdentity(&problems)
	trusted := c.findPool(&problems)
	c.checkAudience(&problems)
	c.checkImpersonation(&problems)
	return trusted, problems.Err()
}

// hasUniverse tells whether there may be such a universe.
func (c Config) hasUniverse() bool {
	return len(c.UniverseDomain) <= maxUniverse && universePattern.MatchString(c.UniverseDomain)
}

// checkIdentity notes what is missing or too much of what makes an identity.
func (c Config) checkIdentity(problems *exchange.Problems) {
	account := c.ServiceAccount != providers.ServiceAccount{}
	pools := c.WorkloadIdentityProvider != "" || c.GKECluster != ""
	switch {
	case c.Ambient && (account || pools || c.Audience != ""):
		problems.Notef("the operator's own identity is used without serviceAccount, workloadIdentityProvider, gkeCluster and audience")
	case c.Ambient:
	case !pools && !account:
		problems.Notef("serviceAccount is missing, and with it workloadIdentityProvider or gkeCluster")
	case !pools:
		problems.Notef("serviceAccount needs workloadIdentityProvider or gkeCluster")
	case c.WorkloadIdentityProvider != "" && c.GKECluster != "":
		problems.Notef("set either workloadIdentityProvider or gkeCluster, not both")
	default:
		problems.Account(c.ServiceAccount)
	}
}

func (c Config) checkAudience(problems *exchange.Problems) {
	switch {
	case c.Audience == "":
	case c.GKECluster != "":
		problems.Notef("audience can't be chosen with gkeCluster, whose pool takes only its own")
	case len(c.Audience) > maxAudience || strings.ContainsFunc(c.Audience, exchange.NotVisibleASCII):
		problems.Notef("audience must be printable ASCII without spaces, of at most %d characters", maxAudience)
	}
}

func (c Config) checkImpersonation(problems *exchange.Problems) {
	if c.GoogleServiceAccount != "" {
		checkEmail(problems, "googleServiceAccount", c.GoogleServiceAccount)
	} else if len(c.Delegates) > 0 {
		problems.Notef("delegates lead to googleServiceAccount: set that too")
	}
	for i, email := range c.Delegates {
		checkEmail(problems, fmt.Sprintf("delegates[%d]", i), email)
	}
}

func checkEmail(problems *exchange.Problems, field, email string) {
	if len(email) > maxEmail || !emailPattern.MatchString(email) {
		problems.Notef("%s must be a service account's email, such as puller@my-project.iam.gserviceaccount.com, not %s", field, shown(email))
	}
}

// maxShown is the length up to which a value is quoted. It has room for the
// longest name of a provider; a key file in the wrong place is longer.
const maxShown = 200

// shown quotes a value for a message, unless it may be a secret.
func shown(value string) string { return exchange.ShownUpTo(maxShown, value) }
