package ecr

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/imagepullsecrets/operator/internal/awsidentity"
	"github.com/imagepullsecrets/operator/internal/exchange"
)

// Config says which registries to open, and as whom. White space around a
// value is ignored.
type Config struct {
	// Identity is who asks. It need not be of the registries' accounts.
	Identity awsidentity.Config
	// Region is the registries' region; it decides on the partition.
	Region string
	// AccountID is the account that the first registry belongs to.
	AccountID string
	// Registries are further hosts that the login opens, all in the same
	// region: registries of other accounts, and other names of this one.
	Registries []string
	// UseFIPS makes the exchange with FIPS endpoints and adds the registry's
	// FIPS host.
	UseFIPS bool
	// UseDualStack makes the exchange with dual-stack (IPv6) endpoints and
	// adds the registry's dual-stack host.
	UseDualStack bool
}

// String leaves out the access key, so that a Config may be printed by mistake.
func (c Config) String() string {
	return fmt.Sprintf("%s %s in %s as %s", Name, exchange.Shown(c.AccountID), exchange.Shown(c.Region), c.Identity)
}

// GoString hides the secret key under %#v too.
func (c Config) GoString() string { return c.String() }

func (c Config) trimmed() Config {
	exchange.Trim(&c.Region, &c.AccountID)
	c.Registries = exchange.Trimmed(c.Registries)
	return c
}

func (c Config) checkAccount(problems *exchange.Problems) {
	switch {
	case c.AccountID == "":
		problems.Notef("accountID is empty")
	case !awsidentity.AccountPattern.MatchString(c.AccountID):
		problems.Notef("accountID must match %s, not %s", awsidentity.AccountPattern, exchange.Shown(c.AccountID))
	}
}

// registryPattern is how every name of a registry begins: account, kind of
// endpoint and region. What may follow depends on the region, see
// endpoints.registrySuffixes.
var registryPattern = regexp.MustCompile(`^(\d{12})\.(dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.[a-z0-9.-]+)$`)

// checkRegistry checks one of the further registries. The login must go to
// nobody but AWS, so a name that only looks like its own is refused.
func checkRegistry(problems *exchange.Problems, registry string, found endpoints) {
	parts := registryPattern.FindStringSubmatch(registry)
	switch {
	case parts == nil:
		problems.Notef("registries: %s is not a private registry's host, such as 111122223333.%s", shownHost(registry), found.known[0])
	case slices.Contains(found.known, parts[2]):
	case parts[3] != found.region:
		problems.Notef("registries: %s is of region %s, but a login opens registries of its own region only: give that region a credential of its own",
			shownHost(registry), shownHost(parts[3]))
	default:
		problems.Notef("registries: %s is not AWS's; in region %s a registry's host is the account's ID and one of .%s",
			shownHost(registry), found.region, strings.Join(found.known, ", ."))
	}
}

// maxHost is the longest that a host can be (RFC 1035, section 2.3.4).
const maxHost = 253

// shownHost quotes a host.
func shownHost(value string) string {
	if len(value) > maxHost {
		return fmt.Sprintf("a value of %d bytes", len(value))
	}
	return fmt.Sprintf("%q", value)
}
