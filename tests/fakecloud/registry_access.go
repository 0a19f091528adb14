package fakecloud

import (
	"context"
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

// doorkeeper decides who may come into the registries of one provider. A provider
// more is a line more in newDoorkeepers.
type doorkeeper interface {
	// content returns what tells the content of one registry from that of another:
	// several host names may lead to the same. It is false for a host that the
	// doorkeeper does not keep.
	content(host string) (key string, ok bool)
	// admits says whether a login opens a kept registry now for these accesses. It
	// is asked on every request, so expiry and revocation show at once. Without any
	// access it is asked whether the login is good at all.
	admits(host, userName, password string, access []auth.Access) bool
	// challenge is how a kept registry asks for a login.
	challenge(host string) challenge
}

// Authorized lets a request in if its login opens the registry whose name it
// asked for.
func (g *registry) Authorized(r *http.Request, access ...auth.Access) (*auth.Grant, error) {
	if isOwnPush(r.Context()) {
		return &auth.Grant{User: auth.UserInfo{Name: "fakecloud"}}, nil
	}
	host := hostKey(r.Host)
	door, _, ok := g.door(host)
	if !ok {
		return nil, auth.ErrInvalidCredential
	}
	if userName, password, ok := g.loginOf(r, host); ok && door.admits(host, userName, password, access) {
		return &auth.Grant{User: auth.UserInfo{Name: userName}}, nil
	}
	return nil, door.challenge(host).forAccess(access)
}

func onlyPulls(access []auth.Access) bool {
	for _, a := range access {
		if a.Type != "repository" || a.Action != "pull" {
			return false
		}
	}
	return true
}

// challenge is how a registry asks for a login: with the request itself or, if it
// is a bearer challenge, at its realm, which hands out a token for it. The registry
// serves a realm on its own host. Logins that come with the request are welcome in
// either case.
type challenge struct {
	bearer  bool
	realm   string
	service string // may be empty in a basic challenge
	scope   string
}

// bearerChallenge points to a token endpoint on the registry's own host.
func bearerChallenge(host, path string) challenge {
	return challenge{bearer: true, realm: "https://" + host + path, service: host}
}

// forAccess adds to a bearer challenge what the token is to be good for.
func (c challenge) forAccess(access []auth.Access) challenge {
	for _, a := range access {
		if c.scope != "" {
			c.scope += " "
		}
		c.scope += a.Type + ":" + a.Name + ":" + a.Action
	}
	return c
}

// Error says that a login is needed. It holds nothing of what was sent.
func (challenge) Error() string { return "no login that opens this registry" }

// SetHeaders writes the challenge into the WWW-Authenticate header.
func (c challenge) SetHeaders(_ *http.Request, w http.ResponseWriter) {
	header := fmt.Sprintf("Basic realm=%q", c.realm)
	if c.bearer {
		header = fmt.Sprintf("Bearer realm=%q", c.realm)
	}
	if c.service != "" {
		header += fmt.Sprintf(",service=%q", c.service)
	}
	if c.bearer && c.scope != "" {
		header += fmt.Sprintf(",scope=%q", c.scope)
	}
	w.Header().Set("WWW-Authenticate", header)
}

// ownPush marks the context of a request by which the cloud fills its registries.
type ownPush struct{}

func withOwnPush(ctx context.Context) context.Context {
	return context.WithValue(ctx, ownPush{}, true)
}

// isOwnPush cannot be true of a request that came over a connection: only
// [Cloud.PushImage] makes such a context.
func isOwnPush(ctx context.Context) bool { return ctx.Value(ownPush{}) != nil }
