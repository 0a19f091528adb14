package fakecloud

import (
	"slices"
	"strings"

	"github.com/distribution/distribution/v3/registry/auth"
)

// googleUserName is the user name for which a password is an access token.
const googleUserName = "oauth2accesstoken"

// googlePullScopes are the scopes that let a token pull.
var googlePullScopes = []string{
	googleScope,
	"https://www.googleapis.com/auth/cloud-platform.read-only",
	"https://www.googleapis.com/auth/devstorage.read_only",
	"https://www.googleapis.com/auth/devstorage.read_write",
	"https://www.googleapis.com/auth/devstorage.full_control",
}

// content differs from one name to another.
func (g *google) content(host string) (string, bool) {
	if location, ok := strings.CutSuffix(host, "-docker.pkg.dev"); ok {
		return host, location != "" && !strings.Contains(location, ".")
	}
	if host == "gcr.io" || strings.HasSuffix(host, ".gcr.io") {
		return host, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return host, g.pullers[host] != nil
}

// admits wants an access token of a principal that still may pull.
func (g *google) admits(host, userName, password string, access []auth.Access) bool {
	holder, ok := g.tokens.find(password)
	if !ok || userName != googleUserName || !onlyPulls(access) {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pullers[host][holder.principal] &&
		slices.ContainsFunc(holder.scopes, func(scope string) bool { return slices.Contains(googlePullScopes, scope) })
}

func (*google) challenge(host string) challenge { return bearerChallenge(host, "/v2/token") }
