package tokenexchange

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// read takes the login out of an answer. One that holds no login is Transient,
// although the fields' paths may be at fault: whatever stands before the
// server may have answered in its place, and a login that is in use must not
// end because of that.
func (r run) read(answer exchange.Answer) (providers.Credential, error) {
	members, unreadable := parseObject(answer.Body)
	if !answer.OK() {
		return providers.Credential{}, r.refused(answer, members, unreadable)
	}
	if unreadable != nil {
		return providers.Credential{}, r.call.Unreadable(answer.Status, answer.Header, unreadable)
	}
	credential, err := r.config.credential(members, answer.Header, r.started)
	if err != nil {
		if refusal, _ := members.text("error"); refusal != "" {
			return providers.Credential{}, r.refused(answer, members, nil)
		}
		return providers.Credential{}, r.call.Errorf(providers.Transient, "the answer %s%s", err, r.names(members))
	}
	if err := r.call.CheckToken(credential.Login.Password); err != nil {
		return providers.Credential{}, err
	}
	if err := r.call.CheckExpiry(answer, credential.ExpiresAt, r.now(), r.whose()); err != nil {
		return providers.Credential{}, err
	}
	credential.Skew = exchange.Skew(answer.Header, r.now(), r.whose())
	return credential, nil
}

// whose says in messages whose word or clock something is.
func (r run) whose() string { return r.call.Host + "'s" }

// maxNames is how many of an answer's members a message lists.
const maxNames = 10

// names lists an answer's members by name, so that people see where its token
// may be.
func (r run) names(members object) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if name = r.scrub.Name(name); name != "" && len(names) < maxNames {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (its members: " + strings.Join(names, ", ") + ")"
}

// credential reads an answer that came with a header for a request sent at
// started. Whether its token is fit for a password is still to be checked.
// Errors follow "the answer" in a message and quote nothing of it.
func (c Config) credential(answer object, header http.Header, started time.Time) (providers.Credential, error) {
	token, found := answer.text(c.Fields.Token)
	if !found || token == "" {
		return providers.Credential{}, fmt.Errorf("holds no text at %s; set fields.token to where the token is", c.Fields.Token)
	}
	// The token need not be a JWT; one that is says what the answer may not.
	claims, notJWT := exchange.ParseClaims(token)
	expiresAt, err := c.expiry(answer, header, claims, started)
	if err != nil {
		return providers.Credential{}, err
	}
	username, err := c.username(answer, claims, notJWT)
	if err != nil {
		return providers.Credential{}, err
	}
	return providers.Credential{
		Login:     dockerconfig.Login{Username: username, Password: token},
		ExpiresAt: expiresAt,
	}, nil
}

// expiry returns when the token ends, by this machine's clock: by the answer's
// word, or else by the token's own.
func (c Config) expiry(answer object, header http.Header, claims exchange.Claims, started time.Time) (time.Time, error) {
	if value, found := answer.lookup(c.Fields.ExpiresAt); found {
		at, ok := parseTime(value)
		if !ok {
			return time.Time{}, fmt.Errorf("holds at %s (fields.expiresAt) neither a time of RFC 3339 nor Unix seconds", c.Fields.ExpiresAt)
		}
		return exchange.LocalExpiry(header, at, started), nil
	}
	if value, found := answer.lookup(c.Fields.ExpiresIn); found {
		lifetime, ok := parseLifetime(value)
		if !ok {
			return time.Time{}, fmt.Errorf("holds at %s (fields.expiresIn) no positive number of seconds", c.Fields.ExpiresIn)
		}
		return started.Add(lifetime), nil
	}
	if claims.ExpiresAt.IsZero() {
		return time.Time{}, fmt.Errorf(
			"does not say when its token ends: nothing is at %s, and the token is no JWT with an exp; set fields.expiresIn or fields.expiresAt",
			c.Fields.ExpiresIn)
	}
	return exchange.LocalExpiry(header, claims.ExpiresAt, started), nil
}

// username returns the login's user: as configured, or else by the answer's
// word, or else by the token's own. notJWT is why claims are empty.
func (c Config) username(answer object, claims exchange.Claims, notJWT error) (string, error) {
	if c.Username != "" {
		return c.Username, nil
	}
	username, where := claims.Subject[strings.LastIndex(claims.Subject, "/")+1:], "at the end of its token's sub"
	if c.Fields.Username != "" {
		username, _ = answer.text(c.Fields.Username)
		where = fmt.Sprintf("at %s (fields.username)", c.Fields.Username)
	}
	switch {
	case c.Fields.Username == "" && notJWT != nil:
		return "", fmt.Errorf("does not say whose login its token is: %w; set username or fields.username", notJWT)
	case username == "":
		return "", fmt.Errorf("holds no user %s; set username or fields.username", where)
	case strings.Contains(username, ":") || strings.ContainsFunc(username, unprintable):
		return "", fmt.Errorf("holds a user %s that has a colon or a character that can't be printed; set username", where)
	case utf8.RuneCountInString(username) > maxUsername:
		return "", fmt.Errorf("holds a user %s that is longer than %d characters; set username", where, maxUsername)
	}
	return username, nil
}

// object is a JSON object whose values are still as they came.
type object map[string]json.RawMessage

// parseObject reads one JSON object and nothing behind it.
func parseObject(body []byte) (object, error) {
	var parsed object
	if json.Unmarshal(body, &parsed) != nil || parsed == nil {
		return nil, errors.New("the body is not a JSON object")
	}
	return parsed, nil
}

// lookup follows a path of names with dots between them. An empty path leads
// nowhere, and so does one that ends at null.
func (o object) lookup(path string) (json.RawMessage, bool) {
	name, rest, deeper := strings.Cut(path, ".")
	value, found := o[name]
	if !found || path == "" || string(value) == "null" {
		return nil, false
	}
	if !deeper {
		return value, true
	}
	inner, err := parseObject(value)
	if err != nil {
		return nil, false
	}
	return inner.lookup(rest)
}

// text returns the text that a path leads to.
func (o object) text(path string) (string, bool) {
	value, found := o.lookup(path)
	if !found {
		return "", false
	}
	return parseText(value)
}

func parseText(value json.RawMessage) (string, bool) {
	var text string
	if json.Unmarshal(value, &text) != nil {
		return "", false
	}
	return text, true
}

// longestLifetime, a hundred years in seconds, fits a time.Duration.
const longestLifetime = 100 * 365 * 24 * 60 * 60

// parseTime reads a time of RFC 3339 or Unix seconds.
func parseTime(value json.RawMessage) (time.Time, bool) {
	if text, ok := parseText(value); ok {
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			return at, true
		}
	}
	seconds, ok := parseSeconds(value, exchange.LatestDate)
	return time.Unix(int64(seconds), 0), ok
}

// parseLifetime reads a number of seconds.
func parseLifetime(value json.RawMessage) (time.Duration, bool) {
	seconds, ok := parseSeconds(value, longestLifetime)
	return time.Duration(seconds * float64(time.Second)), ok
}

// parseSeconds reads a number above 0 and up to a limit, which may stand
// between quotes. It returns 0 for anything else.
func parseSeconds(value json.RawMessage, limit float64) (float64, bool) {
	var number json.Number
	if json.Unmarshal(value, &number) != nil {
		return 0, false
	}
	seconds, err := number.Float64()
	if err != nil || seconds <= 0 || seconds > limit {
		return 0, false
	}
	return seconds, true
}
