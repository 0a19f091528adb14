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
	"github.com/imagepullsecrets/operator/providers"
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
	host, problems := checkEndpoint(c.Endpoint)
	problems = slices.Concat(problems, checkRegistries(c.Registries), c.checkTexts(), c.checkScopes(),
		c.checkParameters(), c.checkClient(), c.checkUsername(), c.checkFields())
	if c.Format != Form && c.Format != JSON {
		problems = append(problems, "format must be Form or JSON")
	}
	if trusting, err = exchange.ClientTrusting(c.CABundle); err != nil {
		problems = append(problems, "caBundle: "+err.Error())
	}
	if len(problems) > 0 {
		return "", nil, providers.Errorf(providers.Invalid, "%s", strings.Join(problems, "; "))
	}
	return host, trusting, nil
}

// checkEndpoint returns an endpoint's host as Provider.Endpoint does.
func checkEndpoint(endpoint string) (host string, problems []string) {
	if endpoint == "" {
		return "", []string{"endpoint is empty"}
	}
	location, err := url.Parse(endpoint)
	if err != nil || location.Scheme != "https" || len(endpoint) > maxText {
		return "", []string{"endpoint must be an https:// URL"}
	}
	if location.User != nil {
		problems = append(problems, "endpoint must not hold a user or a password; those of a client belong into clientAuthentication")
	}
	if strings.Contains(endpoint, "#") {
		problems = append(problems, "endpoint must not have a fragment")
	}
	host, problem := hostOf(location)
	if problem != "" {
		problems = append(problems, problem)
	}
	return host, problems
}

// hostOf returns a URL's host in lower case, with its port unless that is
// https's own, or what is wrong with it.
func hostOf(location *url.URL) (host, problem string) {
	name, port := location.Hostname(), location.Port()
	if _, err := netip.ParseAddr(name); err != nil && !hostPattern.MatchString(name) {
		return "", fmt.Sprintf("endpoint's host must be an IP address or match %s", hostPattern)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if port != "" && (err != nil || number == 0) {
		return "", "endpoint's port must be between 1 and 65535"
	}
	host = strings.ToLower(location.Host)
	if port == "" || number == 443 {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return host, ""
}

// checkRegistries lets the parser of dockerconfigjson judge the keys, as a
// key that the kubelet can't read breaks every pull of a Pod.
func checkRegistries(registries []string) []string {
	if len(registries) == 0 || len(registries) > maxRegistries {
		return []string{fmt.Sprintf("registries must have 1 to %d entries", maxRegistries)}
	}
	var problems []string
	logins := make(dockerconfig.Logins, len(registries))
	for i, key := range registries {
		switch _, again := logins[key]; {
		case again:
			problems = append(problems, fmt.Sprintf("registries[%d] repeats another one", i))
		case strings.Contains(key, "*"):
			problems = append(problems, fmt.Sprintf(`registries[%d] must name one host, without "*": the login would go to every host that matches`, i))
		default:
			logins[key] = dockerconfig.Login{Username: "user", Password: "password"}
		}
	}
	_, unusable, err := dockerconfig.Parse(dockerconfig.Marshal(logins))
	if err != nil {
		return append(problems, "registries: "+err.Error())
	}
	for _, problem := range unusable {
		problems = append(problems, "registries: "+problem.String())
	}
	return problems
}

// checkTexts finds missing values, and values that can't be meant.
func (c Config) checkTexts() []string {
	var problems []string
	for _, text := range []struct {
		name, value string
		required    bool
	}{
		{"serviceAccount.namespace", c.ServiceAccount.Namespace, true},
		{"serviceAccount.name", c.ServiceAccount.Name, true},
		{"tokenAudience", c.TokenAudience, true},
		{"grantType", c.GrantType, true},
		{"subjectTokenType", c.SubjectTokenType, true},
		{"requestedTokenType", c.RequestedTokenType, false},
		{"audience", c.Audience, false},
		{"resource", c.Resource, false},
		{"username", c.Username, false},
	} {
		if text.required && text.value == "" {
			problems = append(problems, text.name+" is empty")
		}
		if problem := textProblem(text.value); problem != "" {
			problems = append(problems, text.name+" "+problem)
		}
	}
	return problems
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

func (c Config) checkScopes() []string {
	if len(c.Scopes) > maxScopes {
		return []string{fmt.Sprintf("scopes must have at most %d entries", maxScopes)}
	}
	var problems []string
	for i, scope := range c.Scopes {
		if len(scope) > maxText || !scopePattern.MatchString(scope) {
			problems = append(problems, fmt.Sprintf("scopes[%d] must be one scope and match %s", i, scopePattern))
		}
	}
	return problems
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
func (c Config) checkParameters() []string {
	if len(c.Parameters) > maxParameters {
		return []string{fmt.Sprintf("parameters must have at most %d entries", maxParameters)}
	}
	var problems []string
	for i, name := range slices.Sorted(maps.Keys(c.Parameters)) {
		owner, owned := ownMembers[name]
		if name == "client_id" && c.ClientAuthentication != None {
			owner, owned = "clientAuthentication.clientID", true
		}
		switch problem := textProblem(c.Parameters[name]); {
		case owned:
			problems = append(problems, fmt.Sprintf("parameters must not hold %s: set %s", name, owner))
		case !namePattern.MatchString(name):
			problems = append(problems, fmt.Sprintf("parameters: the name of number %d in alphabetical order must match %s", i+1, namePattern))
		case problem != "":
			problems = append(problems, fmt.Sprintf("parameters.%s %s", name, problem))
		}
	}
	return problems
}

func (c Config) checkClient() []string {
	switch c.ClientAuthentication {
	case None:
		if c.ClientID != "" || c.ClientSecret != "" {
			return []string{"clientAuthentication.method must be Basic or Post if there is a clientID or a secret"}
		}
		return nil
	case Basic, Post:
	default:
		return []string{"clientAuthentication.method must be Basic or Post"}
	}
	var problems []string
	for _, part := range []struct{ name, value string }{
		{"clientAuthentication.clientID", c.ClientID},
		{"clientAuthentication.secret's value", c.ClientSecret},
	} {
		switch {
		case part.value == "":
			problems = append(problems, part.name+" is empty")
		case len(part.value) > maxText || strings.ContainsFunc(part.value, notVSChar):
			problems = append(problems, fmt.Sprintf(
				"%s must be of at most %d ASCII characters without line breaks (RFC 6749, appendix A)", part.name, maxText))
		}
	}
	return problems
}

// notVSChar tells what is not RFC 6749's VSCHAR, of which clients' ids and
// secrets are made: they may hold spaces.
func notVSChar(r rune) bool { return r < ' ' || r > '~' }

// maxUsername is how many characters a login's user may have.
const maxUsername = 255

func (c Config) checkUsername() []string {
	switch {
	case strings.Contains(c.Username, ":"):
		return []string{"username must not contain a colon, at which a login is split"}
	case utf8.RuneCountInString(c.Username) > maxUsername:
		return []string{fmt.Sprintf("username is longer than %d characters", maxUsername)}
	default:
		return nil
	}
}

func (c Config) checkFields() []string {
	var problems []string
	for _, field := range []struct{ name, path string }{
		{"fields.token", c.Fields.Token},
		{"fields.expiresIn", c.Fields.ExpiresIn},
		{"fields.expiresAt", c.Fields.ExpiresAt},
		{"fields.username", c.Fields.Username},
	} {
		if field.path != "" && (textProblem(field.path) != "" || !pathPattern.MatchString(field.path)) {
			problems = append(problems, fmt.Sprintf("%s must be names with dots between them and match %s", field.name, pathPattern))
		}
	}
	return problems
}
