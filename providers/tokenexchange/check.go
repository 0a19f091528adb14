package tokenexchange

import (
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/exchange"
)

const (
	maxRegistries = 20
	maxScopes     = 50
	maxParameters = 20
	// maxText is how many bytes a value may have.
	maxText = 2048
)

var (
	hostPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)
	// scopePattern and namePattern are those of RFC 6749, sections A.4 and 8.2.
	scopePattern = regexp.MustCompile(`^[!#-\[\]-~]+$`)
	namePattern  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	pathPattern  = regexp.MustCompile(`^[^\s.]+(\.[^\s.]+)*$`)
)

// check returns the endpoint's host, and the client that trusts its
// authorities, of a configuration with its defaults. The error names all
// problems at once, so that one edit is enough. It quotes no value that may be
// a secret in the wrong place.
func (c Config) check() (host string, trusting *http.Client, err error) {
	var problems exchange.Problems
	host = checkEndpoint(&problems, c.Endpoint)
	checkRegistries(&problems, c.Registries)
	problems.Account(c.ServiceAccount)
	c.checkTexts(&problems)
	c.checkScopes(&problems)
	c.checkParameters(&problems)
	c.checkClient(&problems)
	c.checkUsername(&problems)
	c.checkFields(&problems)
	if c.Format != Form && c.Format != JSON {
		problems.Notef("format must be Form or JSON")
	}
	if trusting, err = exchange.ClientTrusting(c.CABundle); err != nil {
		problems.Notef("caBundle: %s", err)
	}
	return host, trusting, problems.Err()
}

// checkEndpoint returns an endpoint's host as Provider.Endpoints does; "" if
// there is none.
func checkEndpoint(problems *exchange.Problems, endpoint string) string {
	if endpoint == "" {
		problems.Notef("endpoint is empty")
		return ""
	}
	location, err := url.Parse(endpoint)
	if err != nil || location.Scheme != "https" || len(endpoint) > maxText {
		problems.Notef("endpoint must be an https:// URL")
		return ""
	}
	if location.User != nil {
		problems.Notef("endpoint must not hold a user or a password; those of a client belong into clientAuthentication")
	}
	if strings.Contains(endpoint, "#") {
		problems.Notef("endpoint must not have a fragment")
	}
	return checkHost(problems, location)
}

// checkHost returns a URL's host in lower case, with its port unless that is
// https's own; "" if it is none.
func checkHost(problems *exchange.Problems, location *url.URL) string {
	name, port := location.Hostname(), location.Port()
	if _, err := netip.ParseAddr(name); err != nil && !hostPattern.MatchString(name) {
		problems.Notef("endpoint's host must be an IP address or match %s", hostPattern)
		return ""
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if port != "" && (err != nil || number == 0) {
		problems.Notef("endpoint's port must be between 1 and 65535")
		return ""
	}
	host := strings.ToLower(location.Host)
	if port == "" || number == 443 {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return host
}

// checkRegistries lets the parser of dockerconfigjson judge the keys, as a
// key that the kubelet can't read breaks every pull of a Pod.
func checkRegistries(problems *exchange.Problems, registries []string) {
	if len(registries) == 0 || len(registries) > maxRegistries {
		problems.Notef("registries must have 1 to %d entries", maxRegistries)
		return
	}
	logins := make(dockerconfig.Logins, len(registries))
	for i, key := range registries {
		switch _, again := logins[key]; {
		case again:
			problems.Notef("registries[%d] repeats another one", i)
		case strings.Contains(key, "*"):
			problems.Notef(`registries[%d] must name one host, without "*": the login would go to every host that matches`, i)
		default:
			logins[key] = dockerconfig.Login{Username: "user", Password: "password"}
		}
	}
	_, unusable, err := dockerconfig.Parse(dockerconfig.Marshal(logins))
	if err != nil {
		problems.Notef("registries: %s", err)
	}
	for _, problem := range unusable {
		problems.Notef("registries: %s", problem)
	}
}

// checkTexts finds missing values, and values that can't be meant.
func (c Config) checkTexts(problems *exchange.Problems) {
	for _, text := range []struct {
		name, value string
		required    bool
	}{
		{"serviceAccount.namespace", c.ServiceAccount.Namespace, false},
		{"serviceAccount.name", c.ServiceAccount.Name, false},
		{"tokenAudience", c.TokenAudience, true},
		{"grantType", c.GrantType, true},
		{"subjectTokenType", c.SubjectTokenType, true},
		{"requestedTokenType", c.RequestedTokenType, false},
		{"audience", c.Audience, false},
		{"resource", c.Resource, false},
		{"username", c.Username, false},
	} {
		if text.required && text.value == "" {
			problems.Notef("%s is empty", text.name)
		}
		if problem := textProblem(text.value); problem != "" {
			problems.Notef("%s %s", text.name, problem)
		}
	}
}

// textProblem says what is wrong with a value that may hold any text.
func textProblem(value string) string {
	switch {
	case len(value) > maxText:
		return fmt.Sprintf("is longer than %d bytes", maxText)
	case strings.ContainsFunc(value, unprintable):
		return "contains a character that can't be printed"
	default:
		return ""
	}
}

func unprintable(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }

func (c Config) checkScopes(problems *exchange.Problems) {
	if len(c.Scopes) > maxScopes {
		problems.Notef("scopes must have at most %d entries", maxScopes)
		return
	}
	for i, scope := range c.Scopes {
		if len(scope) > maxText || !scopePattern.MatchString(scope) {
			problems.Notef("scopes[%d] must be one scope and match %s", i, scopePattern)
		}
	}
}

// ownMembers are the members of a request that are not for Parameters, and
// where they come from.
var ownMembers = map[string]string{
	"grant_type":           "grantType",
	"subject_token":        "serviceAccount",
	"subject_token_type":   "subjectTokenType",
	"requested_token_type": "requestedTokenType",
	"audience":             "audience",
	"resource":             "resource",
	"scope":                "scopes",
	"client_secret":        "clientAuthentication.secret",
}

// checkParameters lets client_id pass for a client that doesn't authenticate:
// that is how it says who it is (RFC 6749, section 3.2.1).
func (c Config) checkParameters(problems *exchange.Problems) {
	if len(c.Parameters) > maxParameters {
		problems.Notef("parameters must have at most %d entries", maxParameters)
		return
	}
	for i, name := range slices.Sorted(maps.Keys(c.Parameters)) {
		owner, owned := ownMembers[name]
		if name == "client_id" && c.ClientAuthentication != None {
			owner, owned = "clientAuthentication.clientID", true
		}
		switch problem := textProblem(c.Parameters[name]); {
		case owned:
			problems.Notef("parameters must not hold %s: set %s", name, owner)
		case !namePattern.MatchString(name):
			problems.Notef("parameters: the name of number %d in alphabetical order must match %s", i+1, namePattern)
		case problem != "":
			problems.Notef("parameters.%s %s", name, problem)
		}
	}
}

func (c Config) checkClient(problems *exchange.Problems) {
	switch c.ClientAuthentication {
	case None:
		if c.ClientID != "" || c.ClientSecret != "" {
			problems.Notef("clientAuthentication.method must be Basic or Post if there is a clientID or a secret")
		}
	case Basic, Post:
		c.checkClientsLogin(problems)
	default:
		problems.Notef("clientAuthentication.method must be Basic or Post")
	}
}

func (c Config) checkClientsLogin(problems *exchange.Problems) {
	for _, part := range []struct{ name, value string }{
		{"clientAuthentication.clientID", c.ClientID},
		{"clientAuthentication.secret's value", c.ClientSecret},
	} {
		switch {
		case part.value == "":
			problems.Notef("%s is empty", part.name)
		case len(part.value) > maxText || strings.ContainsFunc(part.value, notVSChar):
			problems.Notef("%s must be of at most %d ASCII characters without line breaks (RFC 6749, appendix A)", part.name, maxText)
		}
	}
}

// notVSChar tells what is not RFC 6749's VSCHAR, of which clients' ids and
// secrets are made: they may hold spaces.
func notVSChar(r rune) bool { return r < ' ' || r > '~' }

// maxUsername is how many characters a login's user may have.
const maxUsername = 255

func (c Config) checkUsername(problems *exchange.Problems) {
	switch {
	case strings.Contains(c.Username, ":"):
		problems.Notef("username must not contain a colon, at which a login is split")
	case utf8.RuneCountInString(c.Username) > maxUsername:
		problems.Notef("username is longer than %d characters", maxUsername)
	}
}

func (c Config) checkFields(problems *exchange.Problems) {
	for _, field := range []struct{ name, path string }{
		{"fields.token", c.Fields.Token},
		{"fields.expiresIn", c.Fields.ExpiresIn},
		{"fields.expiresAt", c.Fields.ExpiresAt},
		{"fields.username", c.Fields.Username},
	} {
		if field.path != "" && (textProblem(field.path) != "" || !pathPattern.MatchString(field.path)) {
			problems.Notef("%s must be names with dots between them and match %s", field.name, pathPattern)
		}
	}
}
