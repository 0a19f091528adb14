package fakecloud

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	googleUniverse      = "googleapis.com"
	googleTokenLifetime = time.Hour
	googleScope         = "https://www.googleapis.com/auth/cloud-platform"
)

// WorkloadIdentityProvider is a provider of a workload identity pool of Google: it
// turns the subject of an OIDC token into the principal
// principal://iam.googleapis.com/<pool>/subject/<sub>.
type WorkloadIdentityProvider struct {
	// Name is projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>.
	Name string
	// Issuer is the URL of the issuer. The cloud must know its keys too: see
	// [Cloud.AddIssuer].
	Issuer string
	// Audiences are those that tokens may be for. Empty means the name of the
	// provider after https://iam.googleapis.com/ or //iam.googleapis.com/.
	Audiences []string
	// Disabled refuses every token.
	Disabled bool
	// Condition refuses the tokens for whose claims, as encoding/json decodes
	// them, it is false. Nil refuses none.
	Condition func(claims map[string]any) bool
	// MaxTokenAge is the oldest that a token may be. Zero means 24 hours.
	MaxTokenAge time.Duration
	// Universe is the domain of the Google cloud that the provider is in, whose
	// services are sts.<Universe> and iamcredentials.<Universe>. Empty means
	// googleapis.com.
	Universe string
}

// GoogleServiceAccount is an account that others can impersonate.
type GoogleServiceAccount struct {
	// Email is its name.
	Email string
	// WorkloadIdentityUsers are the principals of a pool that may: those of
	// [WorkloadIdentityProvider], and serviceAccount:<project>.svc.id.goog[<namespace>/<name>]
	// of a GKE cluster.
	WorkloadIdentityUsers []string
	// TokenCreators are the principals that may, and that may have it impersonate
	// another as their delegate. Another service account is serviceAccount:<email>.
	TokenCreators []string
	// MaxLifetime is the longest that its tokens may last. Zero means one hour.
	MaxLifetime time.Duration
}

// google is what all services of Google know.
type google struct {
	clock   func() time.Time
	issuers *issuers
	tokens  *issued[googleAccess]

	mu        sync.Mutex
	providers map[string]googleProvider // by the audience of a request
	accounts  map[string]GoogleServiceAccount
	universes map[string]bool
	pullers   map[string]map[string]bool // host of a registry to principals
	disabled  map[string]bool            // projects without the Service Account Credentials API
}

// googleAccess is what an access token stands for.
type googleAccess struct {
	principal string
	universe  string
	scopes    []string
}

// googleProvider is whose tokens make which principals.
type googleProvider struct {
	WorkloadIdentityProvider
	principal func(subject string) (string, bool)
}

func newGoogle(clock func() time.Time, issuers *issuers, ledger *ledger) *google {
	return &google{
		clock: clock, issuers: issuers, tokens: newIssued[googleAccess](clock, ledger),
		providers: map[string]googleProvider{}, accounts: map[string]GoogleServiceAccount{},
		universes: map[string]bool{googleUniverse: true}, pullers: map[string]map[string]bool{},
		disabled: map[string]bool{},
	}
}

var (
	googleProviderName = regexp.MustCompile(`^(projects/\d+/locations/global/workloadIdentityPools/[a-z0-9-]{4,32})/providers/[a-z0-9-]{4,32}$`)
	gkeClusterName     = regexp.MustCompile(`^projects/([a-z][a-z0-9-]{4,28}[a-z0-9])/locations/[a-z0-9-]+/clusters/[a-z0-9-]+$`)
	kubernetesSubject  = regexp.MustCompile(`^system:serviceaccount:([^:]+):([^:]+)$`)
)

// AddWorkloadIdentityProvider makes a provider, and its pool, or replaces the one
// of this name. It panics on a name that is none, such as one with a project's ID
// for its number.
func (c *Cloud) AddWorkloadIdentityProvider(p WorkloadIdentityProvider) {
	name := googleProviderName.FindStringSubmatch(p.Name)
	if name == nil {
		panic(fmt.Sprintf("fakecloud: %q is no provider of a workload identity pool", p.Name))
	}
	p.Universe = cmp.Or(p.Universe, googleUniverse)
	p.Audiences = slices.Clone(p.Audiences)
	if len(p.Audiences) == 0 {
		p.Audiences = []string{"https://iam.googleapis.com/" + p.Name, "//iam.googleapis.com/" + p.Name}
	}
	c.google.addProvider("//iam.googleapis.com/"+p.Name, googleProvider{p, func(subject string) (string, bool) {
		return "principal://iam.googleapis.com/" + name[1] + "/subject/" + subject, true
	}})
}

// AddGKECluster makes the pool <project>.svc.id.goog take the tokens of a cluster
// of GKE, named projects/<project>/locations/<location>/clusters/<cluster>, for the
// audience that is the pool's name. The principals are
// serviceAccount:<project>.svc.id.goog[<namespace>/<name>]. It panics on a name that
// is none.
func (c *Cloud) AddGKECluster(name, issuer string) {
	project := gkeClusterName.FindStringSubmatch(name)
	if project == nil {
		panic(fmt.Sprintf("fakecloud: %q is no cluster of GKE", name))
	}
	pool := project[1] + ".svc.id.goog"
	provider := WorkloadIdentityProvider{Name: name, Issuer: issuer, Audiences: []string{pool}, Universe: googleUniverse}
	c.google.addProvider("identitynamespace:"+pool+":https://container.googleapis.com/v1/"+name, googleProvider{provider, func(subject string) (string, bool) {
		account := kubernetesSubject.FindStringSubmatch(subject)
		if account == nil {
			return "", false
		}
		return fmt.Sprintf("serviceAccount:%s[%s/%s]", pool, account[1], account[2]), true
	}})
}

func (g *google) addProvider(audience string, p googleProvider) {
	p.MaxTokenAge = cmp.Or(p.MaxTokenAge, 24*time.Hour)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.providers[audience] = p
	g.universes[p.Universe] = true
}

// AddGoogleServiceAccount makes an account, or replaces the one of this email. It
// panics on an email that is none.
func (c *Cloud) AddGoogleServiceAccount(a GoogleServiceAccount) {
	if strings.Count(a.Email, "@") != 1 || strings.ContainsAny(a.Email, "/:? ") {
		panic(fmt.Sprintf("fakecloud: %q is no email of a service account", a.Email))
	}
	a.WorkloadIdentityUsers = slices.Clone(a.WorkloadIdentityUsers)
	a.TokenCreators = slices.Clone(a.TokenCreators)
	a.MaxLifetime = cmp.Or(a.MaxLifetime, googleTokenLifetime)
	c.google.mu.Lock()
	defer c.google.mu.Unlock()
	c.google.accounts[a.Email] = a
}

// GrantArtifactRegistry lets a principal pull from a registry: serviceAccount:<email>
// or one of a pool. Grants are looked at on every pull. A host that is not under
// pkg.dev or gcr.io, as in other universes, becomes a registry of Google by it; it
// panics if that host belongs to another service.
func (c *Cloud) GrantArtifactRegistry(host, principal string) {
	host = hostKey(host)
	c.claimHost(host, c.registry)
	c.claimRegistries([]string{host}, c.google)
	c.google.mu.Lock()
	defer c.google.mu.Unlock()
	if c.google.pullers[host] == nil {
		c.google.pullers[host] = map[string]bool{}
	}
	c.google.pullers[host][principal] = true
}

// provider returns the provider that a request's audience names, in a universe.
func (g *google) provider(audience, universe string) (googleProvider, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p, ok := g.providers[audience]
	return p, ok && p.Universe == universe && !p.Disabled
}

func (g *google) account(email string) (GoogleServiceAccount, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a, ok := g.accounts[email]
	return a, ok
}

// issue makes an access token: opaque, and of the shape that real ones have.
func (g *google) issue(access googleAccess, lifetime time.Duration) (token string, expires time.Time) {
	token = "ya29." + strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(randomSecret(400))
	expires = g.tokens.expiry(lifetime)
	g.tokens.add(token, access, expires)
	return token, expires
}

// universeOf returns the universe in which a host is that service's.
func (g *google) universeOf(host, service string) (string, bool) {
	universe, ok := strings.CutPrefix(host, service+".")
	g.mu.Lock()
	defer g.mu.Unlock()
	return universe, ok && g.universes[universe]
}
