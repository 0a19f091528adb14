package fakecloud

import (
	"fmt"
	"net"
	"net/http"
	"strings"
)

// Service names one service of the cloud, for faults and counts.
type Service string

const (
	// STS is the AWS Security Token Service, in every region and partition.
	STS Service = "sts"
	// ECR is the API of AWS Elastic Container Registry, not its registries.
	ECR Service = "ecr"
	// ECRPublic is the API of AWS ECR Public, not its registry.
	ECRPublic Service = "ecr-public"
	// GoogleSTS is the Security Token Service of Google, in every universe.
	GoogleSTS Service = "google-sts"
	// GoogleIAM is the Service Account Credentials API of Google, in every universe.
	GoogleIAM Service = "google-iam"
	// Ambient is every endpoint on loopback: those of [Cloud.PodIdentityEnv],
	// [Cloud.InstanceRoleEnv] and [Cloud.MetadataServerEnv].
	Ambient Service = "ambient"
	// Chainguard is the token service of Chainguard.
	Chainguard Service = "chainguard"
	// AzureAD is the token service of Azure (Microsoft Entra ID), in all its clouds.
	AzureAD Service = "azure-ad"
	// ACR is the exchange of tokens at every Azure Container Registry, not the
	// registries.
	ACR Service = "acr"
	// Quay is the federation of robots at every Quay, not the registries.
	Quay Service = "quay"
	// TokenExchange is every server of [Cloud.AddTokenServer].
	TokenExchange Service = "token-exchange"
	// JFrog is the exchange of tokens at every JFrog platform, not the registries.
	JFrog Service = "jfrog"
	// DockerHub is the identity service of Docker.
	DockerHub Service = "docker-hub"
	// Registry is every container registry: those of all providers and the static
	// ones.
	Registry Service = "registry"
	// Unknown counts what was asked of host names that no service owns. Faults
	// cannot be injected into it.
	Unknown Service = "unknown"
)

// requestLimit is the most that a service reads of a request's body.
const requestLimit = 1 << 20

// backend is one service: the names it answers under, its answers, and what a
// fault looks like in its protocol.
type backend interface {
	// service names the backend; no two share a name.
	service() Service
	// owns says whether host is the service's: lower case, and without a port
	// unless it is other than 443.
	owns(host string) bool
	// ServeHTTP answers a request for an owned host.
	http.Handler
	// writeFault answers with one of the kinds whose shape depends on the
	// protocol: Throttle, ServerError, Denied and Empty.
	writeFault(w http.ResponseWriter, kind FaultKind)
}

// partial is a backend that has only some of the paths of the hosts it owns: the
// others are for the next backend that owns the host, such as the registry.
type partial interface {
	backend
	// ownsPath says whether the path of a request for an owned host is the
	// service's.
	ownsPath(path string) bool
}

// backendFor returns the first service that owns host, nil if none does.
func (c *Cloud) backendFor(host string) backend {
	for _, b := range c.backends {
		if b.owns(host) {
			return b
		}
	}
	return nil
}

// backendAt returns the service that answers for a path of host: the first that owns
// both, else the first that owns the host, nil if none does.
func (c *Cloud) backendAt(host, path string) backend {
	for _, b := range c.backends {
		if p, ok := b.(partial); b.owns(host) && (!ok || p.ownsPath(path)) {
			return b
		}
	}
	return c.backendFor(host)
}

// route hands a request to the service that owns its host, unless a fault is due.
func (c *Cloud) route(w http.ResponseWriter, r *http.Request) {
	// The cloud's clock, not the machine's: clients measure their skew by it.
	w.Header().Set("Date", c.clock().UTC().Format(http.TimeFormat))
	host := hostKey(r.Host)
	// A certificate vouches for one name; serving another under it would hide a
	// client that sends a credential to the wrong host.
	if r.TLS == nil || !strings.EqualFold(r.TLS.ServerName, hostname(host)) {
		http.Error(w, "fakecloud: the Host header is not the name of the TLS handshake", http.StatusMisdirectedRequest)
		return
	}
	b := c.backendAt(host, r.URL.Path)
	if b == nil {
		c.refuse(w, host)
		return
	}
	c.ledger.count(b.service())
	if b.service() != Registry { // images are not searched
		c.ledger.countHost(host)
		c.ledger.show(r)
	}
	if b.service() != Registry && !c.delay(r) {
		abort(w)
		return
	}
	if fault, ok := c.faults.next(b.service(), host); ok {
		c.serveFault(w, r, b, fault)
		return
	}
	b.ServeHTTP(w, r)
}

// refuse answers for a host that the cloud does not have, and remembers it.
func (c *Cloud) refuse(w http.ResponseWriter, host string) {
	c.ledger.countUnknown(host)
	http.Error(w, fmt.Sprintf("fakecloud: no service of this cloud owns the host %q, and nothing is dialled out", host), http.StatusBadGateway)
}

// hostKey brings the host of a request or of a CONNECT into the form that
// backends compare: lower case, the port left out if it is that of HTTPS.
func hostKey(hostport string) string {
	return strings.TrimSuffix(strings.ToLower(hostport), ":443")
}

// hostname is a host key without its port.
func hostname(key string) string {
	if host, _, err := net.SplitHostPort(key); err == nil {
		return host
	}
	return key
}
