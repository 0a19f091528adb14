package tokenexchange

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// Format is how the request's body is written.
type Format string

// The formats of a request.
const (
	// Form is RFC 8693's own format, application/x-www-form-urlencoded.
	Form Format = "Form"
	// JSON is an object whose members are texts.
	JSON Format = "JSON"
)

// ClientAuthentication is how the operator says which OAuth client it is
// (RFC 6749, section 2.3.1).
type ClientAuthentication string

// The ways to authenticate the client.
const (
	// None: the ServiceAccount's token says it all.
	None ClientAuthentication = "None"
	// Basic: the Authorization header holds the client's id and secret.
	Basic ClientAuthentication = "Basic"
	// Post: the body's members client_id and client_secret do.
	Post ClientAuthentication = "Post"
)

// What is sent and read unless the configuration says otherwise.
const (
	defaultGrantType        = "urn:ietf:params:oauth:grant-type:token-exchange"
	defaultSubjectTokenType = "urn:ietf:params:oauth:token-type:jwt"
	defaultToken            = "access_token"
	defaultExpiresIn        = "expires_in"
)

// Config says where and as whom to exchange what, and what the answer looks
// like. White space around values is ignored.
type Config struct {
	// Endpoint is the https:// URL that the request is posted to.
	Endpoint string
	// Registries are the keys that the login is for, 1 to 20 of them: hosts,
	// optionally with a port or a path, without wildcards.
	Registries []string
	// ServiceAccount is whose token is exchanged.
	ServiceAccount providers.ServiceAccount
	// TokenAudience is the aud of the ServiceAccount's token: who it is meant
	// for. It is not the request's audience.
	TokenAudience string

	// Format is how the request is written; Form if empty.
	Format Format
	// GrantType and SubjectTokenType are the request's members of these names,
	// token exchange and a JWT if empty.
	GrantType, SubjectTokenType string
	// RequestedTokenType, Audience and Resource are the request's members of
	// these names, which are left out if empty.
	RequestedTokenType, Audience, Resource string
	// Scopes are what the member scope asks for, in this order.
	Scopes []string
	// Parameters are further members of the request. They can't repeat one
	// that has a field of its own.
	Parameters map[string]string

	// ClientAuthentication is how ClientID and ClientSecret are told; None if
	// empty, and then there are no such two.
	ClientAuthentication   ClientAuthentication
	ClientID, ClientSecret string
	// CABundle are authorities in PEM form, trusted for the endpoint beside
	// the system's. It may be empty.
	CABundle string

	// Username is the login's user. If it is empty, Fields.Username leads to
	// it; if that is empty too, the user is what stands behind the last slash
	// of the token's sub.
	Username string
	// Fields are where the answer holds what.
	Fields Fields
}

// Fields are paths into an answer: the names of members, from the outermost
// inwards, with dots between them.
type Fields struct {
	// Token leads to the login's password; access_token if empty.
	Token string
	// ExpiresIn leads to the seconds for which the token is good; expires_in
	// if empty.
	ExpiresIn string
	// ExpiresAt leads to the time when it ends, as RFC 3339 or Unix seconds.
	// If it is set and leads to something, ExpiresIn isn't looked at.
	ExpiresAt string
	// Username leads to the login's user.
	Username string
}

// String says as whom, so that a Config may be printed by mistake.
func (c Config) String() string { return Name + " by " + c.ServiceAccount.String() }

// GoString hides the client's secret under %#v too.
func (c Config) GoString() string { return c.String() }

// trimmed returns a copy that shares nothing with c.
func (c Config) trimmed() Config {
	c.Format = Format(strings.TrimSpace(string(c.Format)))
	c.ClientAuthentication = ClientAuthentication(strings.TrimSpace(string(c.ClientAuthentication)))
	exchange.Trim(
		&c.Endpoint, &c.ServiceAccount.Namespace, &c.ServiceAccount.Name, &c.ServiceAccount.UID, &c.TokenAudience,
		&c.GrantType, &c.SubjectTokenType, &c.RequestedTokenType, &c.Audience, &c.Resource,
		&c.ClientID, &c.ClientSecret, &c.CABundle, &c.Username,
		&c.Fields.Token, &c.Fields.ExpiresIn, &c.Fields.ExpiresAt, &c.Fields.Username)
	c.Registries, c.Scopes = exchange.Trimmed(c.Registries), exchange.Trimmed(c.Scopes)
	parameters := make(map[string]string, len(c.Parameters))
	for name, value := range c.Parameters {
		parameters[name] = strings.TrimSpace(value)
	}
	c.Parameters = parameters
	return c
}

func (c Config) withDefaults() Config {
	c.Format = cmp.Or(c.Format, Form)
	c.GrantType = cmp.Or(c.GrantType, defaultGrantType)
	c.SubjectTokenType = cmp.Or(c.SubjectTokenType, defaultSubjectTokenType)
	c.ClientAuthentication = cmp.Or(c.ClientAuthentication, None)
	c.Fields.Token = cmp.Or(c.Fields.Token, defaultToken)
	c.Fields.ExpiresIn = cmp.Or(c.Fields.ExpiresIn, defaultExpiresIn)
	return c
}

// key hashes everything that decides on whose login this is, and on what is
// taken for it. Lists stand behind their length, so that they don't run into
// what follows.
func (c Config) key() string {
	fields := append([]string{Name, c.Endpoint}, c.ServiceAccount.Fields()...)
	fields = append(fields, c.TokenAudience,
		string(c.Format), c.GrantType, c.SubjectTokenType, c.RequestedTokenType, c.Audience, c.Resource,
		string(c.ClientAuthentication), c.ClientID, c.ClientSecret, c.CABundle,
		c.Username, c.Fields.Token, c.Fields.ExpiresIn, c.Fields.ExpiresAt, c.Fields.Username,
		strconv.Itoa(len(c.Scopes)))
	fields = append(fields, c.Scopes...)
	for _, name := range slices.Sorted(maps.Keys(c.Parameters)) {
		fields = append(fields, name, c.Parameters[name])
	}
	return providers.HashKey(fields...)
}
