package chainguard

import (
	"fmt"
	"regexp"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

const (
	// defaultAudience is what Chainguard's own clients mint their tokens for.
	defaultAudience = "https://issuer.enforce.dev"
	// maxIdentity is as many characters as an identity may have here; real
	// ones have some dozens.
	maxIdentity = 512
	// defaultRegistry serves Chainguard's images.
	defaultRegistry = "cgr.dev"
)

// Config says as whom to open Chainguard's registry. White space around a
// value is ignored.
type Config struct {
	// Identity is the UID of the Chainguard identity to assume.
	Identity string
	// ServiceAccount is whose tokens the identity trusts.
	ServiceAccount providers.ServiceAccount
	// Audience is the one of these tokens; https://issuer.enforce.dev if empty.
	Audience string
	// Registries are the hosts to open: cgr.dev, which is the default, and its
	// subdomains.
	Registries []string
}

// String names the identity, so that a Config may be printed by mistake.
func (c Config) String() string {
	return fmt.Sprintf("%s %s as %s", Name, exchange.Shown(c.Identity), c.ServiceAccount)
}

// GoString is String, under %#v too.
func (c Config) GoString() string { return c.String() }

var (
	// identityPattern is a path of folders' ids and the identity's own, whose
	// lengths are Chainguard's business.
	identityPattern = regexp.MustCompile(`^[0-9a-f]+(/[0-9a-f]+)*$`)
	registryPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.){0,3}cgr\.dev$`)
)

// complete returns a Config without white space, with the defaults in it.
func (c Config) complete() Config {
	account := &c.ServiceAccount
	exchange.Trim(&c.Identity, &account.Namespace, &account.Name, &account.UID, &c.Audience)
	if c.Audience == "" {
		c.Audience = defaultAudience
	}
	c.Registries = exchange.Trimmed(c.Registries)
	if len(c.Registries) == 0 {
		c.Registries = []string{defaultRegistry}
	}
	return c
}

// validate returns all problems of a complete Config at once.
func (c Config) validate() error {
	var problems exchange.Problems
	if !identityPattern.MatchString(c.Identity) || len(c.Identity) > maxIdentity {
		problems.Notef("identity must be an identity's UID of at most %d characters that matches %s, as chainctl iam identities list shows it, not %s",
			maxIdentity, identityPattern, exchange.Shown(c.Identity))
	}
	problems.Account(c.ServiceAccount)
	problems.Audience(c.Audience)
	for _, registry := range c.Registries {
		if !registryPattern.MatchString(registry) {
			problems.Notef("registries must be cgr.dev or subdomains of it, not %s", exchange.Shown(registry))
		}
	}
	return problems.Err()
}
