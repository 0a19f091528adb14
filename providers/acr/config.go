package acr

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// Config says which registry to open, and as which application. White space
// around a value is ignored.
type Config struct {
	// Registry is the registry's login server, such as example.azurecr.io.
	Registry string
	// TenantID is the directory that the application is in: its id, or one of
	// its domains.
	TenantID string
	// ClientID is the id of an application or of a managed identity that has
	// a federated credential for the ServiceAccount.
	ClientID string
	// Cloud is AzurePublic, which is the default, AzureChina or
	// AzureUSGovernment.
	Cloud string
	// ServiceAccount is whose tokens the federated credential trusts.
	ServiceAccount providers.ServiceAccount
	// Audience is the one of these tokens; the cloud's usual one if empty.
	Audience string
}

// String names the registry, so that a Config may be printed by mistake.
func (c Config) String() string {
	return fmt.Sprintf("%s %s as %s", Name, exchange.Shown(c.Registry), c.ServiceAccount)
}

// GoString is String, under %#v too.
func (c Config) GoString() string { return c.String() }

// cloud is what differs between the clouds of Azure.
type cloud struct {
	// authority is the host of its directory service.
	authority string
	// suffix ends the names of its registries.
	suffix string
	// audience is the usual one for federated credentials.
	audience string
}

const (
	defaultCloud = "AzurePublic"
	cloudNames   = "AzurePublic, AzureChina and AzureUSGovernment"
)

var clouds = map[string]cloud{
	defaultCloud:        {"login.microsoftonline.com", ".azurecr.io", "api://AzureADTokenExchange"},
	"AzureChina":        {"login.chinacloudapi.cn", ".azurecr.cn", "api://AzureADTokenExchangeChina"},
	"AzureUSGovernment": {"login.microsoftonline.us", ".azurecr.us", "api://AzureADTokenExchangeUSGov"},
}

var (
	guidPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	// domainPattern has a dot, so that it takes none of "common",
	// "organizations" and "consumers", which are no directories.
	domainPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.){1,8}[a-z]{2,63}$`)
	// namePattern takes names with and without the suffix that keeps names of
	// deleted registries from others.
	namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{3,61}[a-z0-9]$`)
)

// complete returns a Config without white space, with the defaults in it. Ids
// and domains mean the same in any case, so they are lower case.
func (c Config) complete() Config {
	account := &c.ServiceAccount
	exchange.Trim(&c.Registry, &c.TenantID, &c.ClientID, &c.Cloud, &account.Namespace, &account.Name, &account.UID, &c.Audience)
	c.TenantID, c.ClientID = strings.ToLower(c.TenantID), strings.ToLower(c.ClientID)
	if c.Cloud == "" {
		c.Cloud = defaultCloud
	}
	if c.Audience == "" {
		c.Audience = clouds[c.Cloud].audience
	}
	return c
}

// validate returns all problems of a complete Config at once.
func (c Config) validate() error {
	var problems exchange.Problems
	found, known := clouds[c.Cloud]
	if known {
		c.checkRegistry(&problems, found.suffix)
		problems.Audience(c.Audience)
	} else {
		problems.Notef("cloud must be one of %s, not %s", cloudNames, exchange.Shown(c.Cloud))
	}
	if !guidPattern.MatchString(c.TenantID) && !domainPattern.MatchString(c.TenantID) {
		problems.Notef("tenantID must be a directory's id, such as 00000000-0000-0000-0000-000000000000, or its domain, not %s",
			exchange.Shown(c.TenantID))
	}
	if !guidPattern.MatchString(c.ClientID) {
		problems.Notef("clientID must be an application's id, such as 00000000-0000-0000-0000-000000000000, not %s",
			exchange.Shown(c.ClientID))
	}
	problems.Account(c.ServiceAccount)
	return problems.Err()
}

// checkRegistry notes a registry that is none of the cloud's.
func (c Config) checkRegistry(problems *exchange.Problems, suffix string) {
	name, matches := strings.CutSuffix(c.Registry, suffix)
	switch {
	case matches && namePattern.MatchString(name):
	case matches && strings.HasSuffix(name, ".data"):
		problems.Notef("registry must be a login server, not %s, which is a data endpoint: nobody logs in there",
			exchange.Shown(c.Registry))
	default:
		problems.Notef("registry must be a login server of %s, such as example%s, in lower case, not %s",
			c.Cloud, suffix, exchange.Shown(c.Registry))
	}
}
