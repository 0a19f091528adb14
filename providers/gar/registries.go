package gar

import (
	"regexp"
	"slices"
	"strings"

	"github.com/imagepullsecrets/operator/internal/exchange"
)

// location is one DNS label: a region or a multi-region, such as
// europe-west1 or us.
const location = `[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?`

var (
	// artifactRegistry matches what Artifact Registry's hosts for images have
	// before their domain: for all locations, for one, and for one by its
	// regional endpoint.
	artifactRegistry = regexp.MustCompile(`^(docker|` + location + `-docker|docker\.` + location + `\.rep)$`)
	// containerRegistry matches the hosts of what was Container Registry;
	// Artifact Registry serves them today.
	containerRegistry = regexp.MustCompile(`^(` + location + `\.)?gcr\.io$`)
)

// registryDomain returns the domain that a universe's registries are in.
//
// Google has pkg.dev. Other universes have a domain of their own, which no API
// tells; by what is known of them, its name follows the universe's:
// apis-example.goog has pkg-example.goog, exampleapis.fr has
// exampleregistry.fr. A universe of any other name is taken to have its
// registries in its own domain.
func registryDomain(universe string) string {
	if universe == googleUniverse {
		return "pkg.dev"
	}
	label, rest, _ := strings.Cut(universe, ".")
	if name, found := strings.CutPrefix(label, "apis-"); found {
		return "pkg-" + name + "." + rest
	}
	if name, found := strings.CutSuffix(label, "apis"); found && name != "" {
		return name + "registry." + rest
	}
	return universe
}

// isRegistry tells whether a host is a registry of a universe.
func isRegistry(universe, host string) bool {
	if universe == googleUniverse && containerRegistry.MatchString(host) {
		return true
	}
	name, found := strings.CutSuffix(host, "."+registryDomain(universe))
	return found && artifactRegistry.MatchString(name)
}

// checkRegistries notes which registries are none of Google's. Nobody else may
// get the login: whoever it is sent to can use it for all that the identity
// may do.
func (c Config) checkRegistries(problems *exchange.Problems) {
	if len(c.Registries) == 0 {
		problems.Notef("registries is empty")
	}
	if !c.hasUniverse() {
		return // nobody knows which would be right
	}
	forms := "<location>-docker." + registryDomain(c.UniverseDomain)
	if c.UniverseDomain == googleUniverse {
		forms += ", gcr.io or <location>.gcr.io"
	}
	for i, registry := range c.Registries {
		switch {
		case slices.Contains(c.Registries[:i], registry):
			problems.Notef("registries[%d] is %s for the second time", i, shown(registry))
		case !isRegistry(c.UniverseDomain, registry):
			problems.Notef("registries[%d] must be a host of universe %s, such as %s, not %s",
				i, shown(c.UniverseDomain), forms, shown(registry))
		}
	}
}
