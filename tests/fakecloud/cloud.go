package fakecloud

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// defaultTokenLifetime is how long a real ECR authorization token lasts.
const defaultTokenLifetime = 12 * time.Hour

// Options are the knobs of a [Cloud]. The zero value is a cloud that behaves like
// the real ones.
type Options struct {
	// Clock tells the cloud's time: it stamps and expires credentials, bounds
	// the age of signatures and fills the Date header. It must be safe for
	// concurrent use. Nil means time.Now.
	Clock func() time.Time
	// TokenLifetime is how long a token of ECR and ECR Public is valid. Zero means 12 hours.
	TokenLifetime time.Duration
	// Log receives the log of the servers and of the embedded registry. Nil
	// discards it. The registry library logs through one process-wide logger, so
	// of several clouds in a process the one started last decides.
	Log io.Writer
}

// Cloud is a running fake. All its methods are safe for concurrent use.
type Cloud struct {
	ctx    context.Context
	cancel context.CancelFunc
	stop   sync.Once
	work   sync.WaitGroup // every goroutine that Stop waits for

	clock     func() time.Time
	log       io.Writer
	authority *authority
	directory string // holds ca.pem
	front     *server
	proxy     *server
	client    *http.Client
	ambientMu sync.Mutex
	ambients  []*server

	latency  atomic.Int64 // of every service but the registries, in nanoseconds
	ledger   *ledger
	faults   *faultQueue
	issuers  *issuers
	iam      *iam
	ecr      *ecr
	public   *ecrPublic
	google   *google
	static   *staticLogins
	registry *registry
	backends []backend

	chainguard *chainguard
	azureAD    *azureAD
	acr        *acr
	quay       *quay
	exchange   *exchangeServers
	jfrog      *jfrog
	dockerHub  *dockerHub
}

// Start starts a cloud on free loopback ports. It runs until [Cloud.Stop] is
// called or ctx is done, whichever comes first.
func Start(ctx context.Context, o Options) (*Cloud, error) {
	c := newCloud(o)
	c.ctx, c.cancel = context.WithCancel(ctx)
	if err := c.start(); err != nil {
		c.Stop()
		return nil, fmt.Errorf("start fake cloud: %w", err)
	}
	context.AfterFunc(ctx, c.Stop)
	return c, nil
}

func newCloud(o Options) *Cloud {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.TokenLifetime == 0 {
		o.TokenLifetime = defaultTokenLifetime
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	c := &Cloud{clock: o.Clock, log: o.Log, ledger: newLedger(), faults: newFaultQueue()}
	c.issuers = newIssuers(c.clock)
	c.iam = newIAM(c.clock, c.ledger)
	c.ecr = newECR(c.clock, c.iam, c.ledger, o.TokenLifetime)
	c.public = &ecrPublic{iam: c.iam, lifetime: c.ecr.tokenLifetime, tokens: newIssued[principal](c.clock, c.ledger)}
	c.google = newGoogle(c.clock, c.issuers, c.ledger)
	c.static = newStaticLogins()
	c.chainguard = newChainguard(c.clock, c.issuers, c.ledger)
	c.azureAD = newAzureAD(c.clock, c.issuers, c.ledger)
	c.acr = newACR(c.clock, c.azureAD, c.ledger)
	c.quay = newQuay(c.clock, c.issuers, c.ledger)
	c.exchange = newExchangeServers(c.clock, c.issuers, c.ledger)
	c.jfrog = newJFrog(c.clock, c.issuers, c.ledger)
	c.dockerHub = newDockerHub(c.clock, c.issuers, c.ledger)
	c.registry = newRegistry(newDoorkeepers(c), newIssued[registryLogin](c.clock, c.ledger), o.Log)
	c.backends = newBackends(c)
	return c
}

// newBackends lists every service of the cloud. A host name belongs to the first
// one that owns it.
func newBackends(c *Cloud) []backend {
	return []backend{
		newSTS(c.clock, c.iam, c.issuers),
		c.ecr,
		c.public,
		googleSTS{c.google},
		googleIAM{c.google},
		ambient{},
		c.chainguard,
		c.azureAD,
		c.acr,
		c.quay,
		c.exchange,
		c.jfrog,
		c.dockerHub,
		c.registry,
	}
}

// newDoorkeepers lists who keeps the registries of the cloud. A registry belongs to
// the first one that keeps its host.
func newDoorkeepers(c *Cloud) []doorkeeper {
	return []doorkeeper{
		c.ecr,
		c.public,
		c.google,
		c.chainguard,
		c.acr,
		c.quay,
		c.exchange.logins,
		c.jfrog.logins,
		c.dockerHub,
		c.static,
	}
}

// start makes the certificate authority and opens both listeners.
func (c *Cloud) start() (err error) {
	if c.authority, err = newAuthority(); err != nil {
		return err
	}
	if c.directory, err = os.MkdirTemp("", "fakecloud-"); err != nil {
		return fmt.Errorf("make a directory for the certificate: %w", err)
	}
	if err := os.WriteFile(c.CAFile(), c.authority.pem(), 0o600); err != nil {
		return fmt.Errorf("write the certificate authority: %w", err)
	}
	if c.front, err = c.listen(http.HandlerFunc(c.route), c.serverTLS()); err != nil {
		return err
	}
	if c.proxy, err = c.listen(http.HandlerFunc(c.connect), nil); err != nil {
		return err
	}
	c.client = c.newClient()
	return nil
}

// Stop ends every connection, held requests included, waits for the cloud's
// goroutines and removes its files. Calling it again does nothing.
func (c *Cloud) Stop() {
	c.stop.Do(func() {
		c.cancel()
		if c.client != nil {
			c.client.CloseIdleConnections()
		}
		for _, s := range []*server{c.proxy, c.front} {
			if s != nil {
				s.close()
			}
		}
		c.closeAmbients()
		c.work.Wait()
		c.registry.close()
		if c.directory != "" {
			_ = os.RemoveAll(c.directory) // a temporary directory: nothing depends on its removal
		}
	})
}

// Env returns the environment variables, as KEY=value, that make a child process
// talk to this cloud instead of the real ones. Loopback addresses stay direct, so
// that a test API server is still reached.
func (c *Cloud) Env() []string {
	return []string{
		"HTTPS_PROXY=" + c.ProxyURL().String(),
		"SSL_CERT_FILE=" + c.CAFile(),
		"NO_PROXY=127.0.0.1,localhost",
	}
}

// ProxyURL returns the address of the proxy, for HTTPS_PROXY or http.ProxyURL.
func (c *Cloud) ProxyURL() *url.URL {
	return &url.URL{Scheme: "http", Host: c.proxy.address()}
}

// CAFile returns the path of the PEM file with the cloud's certificate authority.
// The file lives until [Cloud.Stop].
func (c *Cloud) CAFile() string { return filepath.Join(c.directory, "ca.pem") }

// CAPool returns a new pool that trusts this cloud and nothing else.
func (c *Cloud) CAPool() *x509.CertPool { return c.authority.pool() }

// HTTPClient returns the cloud's own client: through the proxy, trusting the
// certificate authority. It follows redirects as any http.Client does. Its idle
// connections end at [Cloud.Stop].
func (c *Cloud) HTTPClient() *http.Client { return c.client }

// SetTokenLifetime changes how long tokens of ECR and ECR Public issued from now on
// are valid. Those already issued keep their expiry.
func (c *Cloud) SetTokenLifetime(d time.Duration) { c.ecr.setLifetime(d) }
