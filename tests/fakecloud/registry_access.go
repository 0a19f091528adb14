package fakecloud

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"

	"github.com/distribution/distribution/v3/registry/auth"
)

const (
	authName      = "fakecloud"
	authParameter = "controller" // carries the auth.AccessController itself
)

// The library creates access controllers by name only, so there is one name for
// those of all clouds.
func init() { //nolint:gochecknoinits // the library takes access controllers in no other way
	err := auth.Register(authName, func(parameters map[string]any) (auth.AccessController, error) {
		controller, ok := parameters[authParameter].(auth.AccessController)
		if !ok {
			return nil, errors.New("no access controller among the parameters")
		}
		return controller, nil
	})
	if err != nil {
		panic(err) // the name is taken: two copies of this package in one binary
	}
}

// Authorized lets a request in if its login opens the registry whose name it
// asked for. Logins are looked at on every request, so expiry and revocation
// show at once.
func (g *registry) Authorized(r *http.Request, access ...auth.Access) (*auth.Grant, error) {
	if isOwnPush(r.Context()) {
		return &auth.Grant{User: auth.UserInfo{Name: "fakecloud"}}, nil
	}
	host := hostKey(r.Host)
	userName, password, ok := r.BasicAuth()
	if ok && g.admits(host, userName, password, access) {
		return &auth.Grant{User: auth.UserInfo{Name: userName}}, nil
	}
	return nil, challengeOf(host)
}

// admits says whether a login opens a registry for these accesses. A token of ECR
// pulls only: pushing is a permission of its own, which this cloud does not have.
func (g *registry) admits(host, userName, password string, access []auth.Access) bool {
	if at, ok := parseECRRegistry(host); ok {
		return g.ecr.opens(at, userName, password) && onlyPulls(access)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	expected, ok := g.static[host][userName]
	return ok && subtle.ConstantTimeCompare([]byte(expected), []byte(password)) == 1
}

func onlyPulls(access []auth.Access) bool {
	for _, a := range access {
		if a.Type != "repository" || a.Action != "pull" {
			return false
		}
	}
	return true
}

// challenge is the WWW-Authenticate header of a registry.
type challenge string

func challengeOf(host string) challenge {
	if _, ok := parseECRRegistry(host); ok {
		return challenge(fmt.Sprintf(`Basic realm="https://%s/",service="ecr.amazonaws.com"`, host))
	}
	return challenge(fmt.Sprintf("Basic realm=%q", host))
}

// Error says that a login is needed. It holds nothing of what was sent.
func (challenge) Error() string { return "no login that opens this registry" }

// SetHeaders writes the challenge.
func (c challenge) SetHeaders(_ *http.Request, w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", string(c))
}

// ownPush marks the context of a request by which the cloud fills its registries.
type ownPush struct{}

func withOwnPush(ctx context.Context) context.Context {
	return context.WithValue(ctx, ownPush{}, true)
}

// isOwnPush cannot be true of a request that came over a connection: only
// [Cloud.PushImage] makes such a context.
func isOwnPush(ctx context.Context) bool { return ctx.Value(ownPush{}) != nil }
