// Package ecr gets logins for AWS Elastic Container Registry with the static
// access key of an IAM user, optionally through a role. It looks at nothing
// but its configuration: no environment, no shared files, no metadata service,
// so that the operator's own identity is never lent to whoever wrote a source.
package ecr

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/imagepullsecrets/operator/providers"
)

// Name is the provider's name in status, metrics and documentation.
const Name = "ecr"

// Provider exchanges an access key for the logins of one account's registry
// in one region. Create it by New.
type Provider struct {
	config     Config
	endpoints  endpoints
	registries []string
	key        string

	client *http.Client
	calls  calls
	now    func() time.Time
}

var _ providers.Provider = (*Provider)(nil)

// New checks a configuration, without any connection, and returns its
// Provider. The error is of class Invalid and names everything that is wrong.
//
// The client carries the exchanges; nil stands for one that is shared by the
// whole process (see NewClient). Whatever the client's own settings are,
// redirects aren't followed and bodies are limited.
func New(config Config, client *http.Client) (*Provider, error) {
	config = config.trimmed()
	found, err := config.validate(sdkResolver)
	if err != nil {
		return nil, err
	}
	if client == nil {
		client = sharedClient()
	}
	return &Provider{
		config:     config,
		endpoints:  found,
		registries: found.registries(config.AccountID),
		key:        config.key(),
		client:     withoutRedirects(client),
		now:        time.Now,
	}, nil
}

// Name returns "ecr".
func (p *Provider) Name() string { return Name }

// Key identifies the identity, the region and the account. A token opens every
// registry of its principal, so two accounts might share an exchange; but the
// logins that come with a Key name the account's hosts, so they don't.
func (p *Provider) Key() string { return p.key }

// Registries returns the account's registry hosts: the standard one first,
// then those of FIPS and dual-stack as configured.
func (p *Provider) Registries() []string { return slices.Clone(p.registries) }

// String names the registry, so that a Provider may be printed by mistake.
func (p *Provider) String() string { return Name + " " + p.registries[0] }

// GoString hides the secret key under %#v too.
func (p *Provider) GoString() string { return p.String() }

// key hashes every input that decides on whose logins these are.
func (c Config) key() string {
	sum := sha256.New()
	for _, field := range []string{
		Name,
		c.Region,
		c.AccountID,
		c.AccessKeyID,
		c.SecretAccessKey,
		c.RoleARN,
		strconv.FormatBool(c.UseFIPS),
		strconv.FormatBool(c.UseDualStack),
	} {
		writeField(sum, field)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// writeField writes a field behind its length, so that no two lists of fields
// are written alike: "ab", "c" is not "a", "bc".
func writeField(sum hash.Hash, field string) {
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(field)))
	sum.Write(length[:])
	sum.Write([]byte(field))
}
