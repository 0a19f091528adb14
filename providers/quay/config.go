package quay

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// defaultRegistry is Red Hat's installation of Quay.
const defaultRegistry = "quay.io"

// Config says which Quay to open, and as which robot. White space around a
// value is ignored.
type Config struct {
	// Registry is the host of the installation, with its port if that stands
	// in the images' names; quay.io if empty.
	Registry string
	// Robot is the robot account, such as example+puller.
	Robot string
	// ServiceAccount is whose tokens the robot's federation trusts.
	ServiceAccount providers.ServiceAccount
	// Audience is the one of these tokens; the registry's host if empty.
	Audience string
	// CABundle holds, in PEM form, authorities to trust beside the system's.
	// It may be empty.
	CABundle string
}

// String names the robot, so that a Config may be printed by mistake.
func (c Config) String() string {
	return fmt.Sprintf("%s %s at %s as %s", Name, exchange.Shown(c.Robot), exchange.Shown(c.Registry), c.ServiceAccount)
}

// GoString is String, under %#v too.
func (c Config) GoString() string { return c.String() }

var (
	hostPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)
	// robotPattern has no colon, which would end the user in HTTP's Basic
	// authentication (RFC 7617).
	robotPattern = regexp.MustCompile(`^[a-z0-9._-]{1,255}\+[a-z0-9._-]{1,255}$`)
)

// complete returns a Config without white space, with the defaults in it.
func (c Config) complete() Config {
	account := &c.ServiceAccount
	exchange.Trim(&c.Registry, &c.Robot, &account.Namespace, &account.Name, &account.UID, &c.Audience, &c.CABundle)
	if c.Registry == "" {
		c.Registry = defaultRegistry
	}
	if c.Audience == "" {
		c.Audience, _, _ = strings.Cut(c.Registry, ":")
	}
	return c
}

// validate returns the client that trusts the authorities of a complete Config,
// or all problems at once.
func (c Config) validate() (*http.Client, error) {
	var problems exchange.Problems
	if !isAuthority(c.Registry) {
		problems.Notef("registry must be <host>[:<port>] as in the images' names, in lower case, not %s", exchange.Shown(c.Registry))
	}
	if !robotPattern.MatchString(c.Robot) {
		problems.Notef("robot must be <organization>+<name>, such as example+puller, not %s", exchange.Shown(c.Robot))
	}
	problems.Account(c.ServiceAccount)
	problems.Audience(c.Audience)
	trusting, err := exchange.ClientTrusting(c.CABundle)
	if err != nil {
		problems.Notef("caBundle: %s", err)
	}
	return trusting, problems.Err()
}

// isAuthority tells a host, with or without a port, that image names can begin
// with: one without a dot needs a port.
func isAuthority(registry string) bool {
	host, port, hasPort := strings.Cut(registry, ":")
	if hasPort {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 || strconv.FormatUint(number, 10) != port {
			return false
		}
	}
	return len(host) <= 253 && hostPattern.MatchString(host) && (hasPort || strings.Contains(host, "."))
}
