// Package registry serves container images out of this process, over plain
// HTTP and to those only who have the login.
package registry

import (
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// headerTimeout is for clients that connect and say nothing.
const headerTimeout = 10 * time.Second

// Login is what a registry asks for. The zero value is a registry that serves
// everyone.
type Login struct{ Username, Password string }

// Registry is a running registry, empty at first, whose images are in memory.
type Registry struct {
	login  Login
	host   string
	server *http.Server
}

// Start runs a registry on a free port of an address of this machine.
func Start(ctx context.Context, address string, login Login) (*Registry, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return nil, fmt.Errorf("start a registry: %w", err)
	}
	r := &Registry{login: login, host: listener.Addr().String()}
	images := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	r.server = &http.Server{Handler: r.guarded(images), ReadHeaderTimeout: headerTimeout}
	go func() { _ = r.server.Serve(listener) }() // until Stop
	return r, nil
}

// Host is what references to the registry's images begin with, "<address>:<port>".
func (r *Registry) Host() string { return r.host }

// Stop ends the registry and forgets its images.
func (r *Registry) Stop() error { return r.server.Close() }

// Push stores an image under "<repository>:<tag>" and returns its whole
// reference.
func (r *Registry) Push(ctx context.Context, image v1.Image, repository string) (string, error) {
	reference, err := name.NewTag(r.host+"/"+repository, name.Insecure)
	if err != nil {
		return "", fmt.Errorf("push to the registry: %w", err)
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(&http.Transport{DisableKeepAlives: true})}
	if r.login != (Login{}) {
		options = append(options, remote.WithAuth(&authn.Basic{Username: r.login.Username, Password: r.login.Password}))
	}
	if err := remote.Write(reference, image, options...); err != nil {
		return "", fmt.Errorf("push %s: %w", reference, err)
	}
	return reference.String(), nil
}

// guarded lets nobody through to images but those who have the login.
func (r *Registry) guarded(images http.Handler) http.Handler {
	if r.login == (Login{}) {
		return images
	}
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		username, password, _ := request.BasicAuth()
		if !same(username, r.login.Username) || !same(password, r.login.Password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="test registry"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
			return
		}
		images.ServeHTTP(w, request)
	})
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
