package tokenexchange

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// refused is the error for a refusal. A text that is no JSON is not the
// server's own.
func (r run) refused(answer exchange.Answer, members object, unreadable error) *providers.Error {
	if unreadable != nil && len(bytes.TrimSpace(answer.Body)) > 0 {
		failure := r.call.Unreadable(answer.Status, answer.Header, unreadable)
		addHint(failure, answer.Status)
		return failure
	}
	refusal := members.refusal()
	refusal.Class, refusal.Hint = r.config.judge(refusal.Code, answer.Status)
	return r.call.Refused(answer, r.mindClocks(answer, refusal), r.scrub)
}

// refusal finds code and description in the forms that servers give them:
// OAuth's error and error_description, the list errors of JFrog and of
// registries, an error that is an object, or a plain message.
func (o object) refusal() exchange.Refusal {
	var found exchange.Refusal
	for _, place := range []object{o, o.inner("error"), o.first("errors")} {
		for _, name := range []string{"error", "code", "status"} {
			code, _ := place.text(name)
			found.Code = cmp.Or(found.Code, code)
		}
		for _, name := range []string{"error_description", "message", "detail"} {
			description, _ := place.text(name)
			found.Description = cmp.Or(found.Description, description)
		}
	}
	return found
}

// inner returns a member that is an object; nil if it is none.
func (o object) inner(name string) object {
	found, err := parseObject(o[name])
	if err != nil {
		return nil
	}
	return found
}

// first returns the first object of a member that is a list; nil if it is none.
func (o object) first(name string) object {
	var list []object
	if json.Unmarshal(o[name], &list) != nil || len(list) == 0 {
		return nil
	}
	return list[0]
}

const membersHint = "check format, subjectTokenType, audience, resource and parameters"

// judge says what a refusal means and what to do: by its code (RFC 6749,
// section 5.2; RFC 8693, section 2.2.2), or by its status if the code is none
// of these.
func (c Config) judge(code string, status int) (class providers.Class, hint string) {
	if status == http.StatusTooManyRequests {
		return providers.Throttled, ""
	}
	switch strings.ToLower(code) {
	case "invalid_grant", "invalid_token", "access_denied":
		return providers.Denied, c.trustHint()
	case "invalid_request":
		// Section 2.2.2 wants this code for a subject token that isn't accepted, too.
		return providers.Denied, membersHint + "; or else " + c.trustHint()
	case "invalid_client":
		return providers.Denied, c.clientHint()
	case "unauthorized_client":
		return providers.Denied, "let the server allow token exchange to " + c.client() + "; or else " + c.trustHint()
	case "invalid_scope":
		return providers.Invalid, "check scopes"
	case "invalid_target":
		return providers.Invalid, "check audience and resource"
	case "unsupported_grant_type":
		return providers.Invalid, "check grantType, format, and whether the server has token exchange switched on"
	case "unsupported_token_type", "unsupported_subject_token_type":
		return providers.Invalid, "check subjectTokenType and requestedTokenType"
	case "slow_down", "too_many_requests", "rate_limit_exceeded":
		return providers.Throttled, ""
	case "temporarily_unavailable", "server_error":
		return providers.Transient, ""
	}
	return exchange.ClassOfStatus(status), c.statusHint(status)
}

// statusHint says what to do about a refusal of which only the status is
// known.
func (c Config) statusHint(status int) string {
	switch {
	case status == http.StatusUnauthorized && c.ClientAuthentication != None:
		return c.clientHint() + "; or else " + c.trustHint()
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return c.trustHint()
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return "check the path of endpoint, and what parameters name"
	case status == http.StatusUnsupportedMediaType:
		return fmt.Sprintf("the server takes another format than %s: change format", c.Format)
	case exchange.ClassOfStatus(status) == providers.Invalid:
		// Servers without codes refuse tokens by the status of a bad request, too.
		return membersHint + "; or else " + c.trustHint()
	default:
		return ""
	}
}

func (c Config) trustHint() string {
	return fmt.Sprintf("let the server trust this cluster's issuer, the audience %q and the subject %s", c.TokenAudience, c.ServiceAccount.Subject())
}

func (c Config) clientHint() string {
	if c.ClientAuthentication == None {
		return "the server wants to know its client: set clientAuthentication"
	}
	return fmt.Sprintf("check clientAuthentication: the clientID, the secret's value, and whether the server takes the method %s", c.ClientAuthentication)
}

func (c Config) client() string {
	if c.ClientAuthentication == None {
		return "callers without clientAuthentication"
	}
	return fmt.Sprintf("the client %q", c.ClientID)
}

// aboutTime matches descriptions that speak of a token's time: as it was made
// for this request, one clock is wrong if it is over, or is yet to begin.
var aboutTime = regexp.MustCompile(`(?i)\b(expired?|stale|not (yet )?(valid|active)|future|clock|iat|nbf|exp|issued at)\b`)

// mindClocks adds the difference between the cluster's clock and the server's
// to a refusal of the ServiceAccount's token, and blames it if the server's
// words do.
func (r run) mindClocks(answer exchange.Answer, refusal exchange.Refusal) exchange.Refusal {
	if refusal.Class != providers.Denied {
		return refusal
	}
	difference := exchange.ClockDifference(answer.Header, r.issued, "this cluster's", r.whose())
	switch {
	case difference == "":
	case aboutTime.MatchString(refusal.Description):
		refusal.Class, refusal.Hint = providers.ClockSkew, difference+": set it right"
	default:
		refusal.Hint += "; " + difference
	}
	return refusal
}
