package acr

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// directoryError is how the directory service refuses.
type directoryError struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Codes       []int  `json:"error_codes"`
	TraceID     string `json:"trace_id"`
}

// hint makes what to do about a refusal; nil knows nothing.
type hint func(r run, answer exchange.Answer, assertion string) string

// verdict is what a code of the directory service means here.
type verdict struct {
	class providers.Class
	hint  hint
}

var (
	noMatch       = verdict{providers.Denied, run.trustHint}
	wrongTime     = verdict{providers.ClockSkew, run.clockHint}
	wrongTenant   = verdict{providers.Invalid, fixed("check tenantID and cloud")}
	wrongClient   = verdict{providers.Invalid, fixed("check clientID and tenantID")}
	noIssuer      = verdict{providers.Transient, fixed("let the cluster's issuer serve its discovery document and keys to the internet")}
	noRegistries  = verdict{providers.Denied, fixed("the directory does not know Azure Container Registry: check tenantID and cloud")}
	disabled      = verdict{providers.Denied, fixed("let an administrator enable the application")}
	policyForbids = verdict{providers.Denied, fixed("let the directory's conditional access policies admit the application")}
)

func fixed(text string) hint { return func(run, exchange.Answer, string) string { return text } }

// verdicts are by the number of an AADSTS error
// (https://learn.microsoft.com/entra/identity-platform/reference-error-codes).
var verdicts = map[int]verdict{
	// No federated credential fits: issuer, audience, subject, its case.
	70021:   noMatch,
	700211:  noMatch,
	700212:  noMatch,
	700213:  noMatch,
	7002138: noMatch,

	700024: wrongTime, // the assertion is not within its validity
	70023:  wrongTime, // the assertion is valid for too long

	90002:  wrongTenant, // no such tenant
	900023: wrongTenant, // no such domain
	700016: wrongClient, // no such application in the tenant
	50034:  wrongClient, // no such account in the tenant
	500011: noRegistries,

	7000112: disabled,
	53003:   policyForbids,
	50166:   noIssuer,
	501661:  noIssuer,
	90033:   {class: providers.Transient}, // temporarily unavailable
}

// verdictOn looks a code up. The older 50012 stands for anything that is wrong
// with an assertion, its times among it.
func verdictOn(code int, description string) (verdict, bool) {
	if code == 50012 {
		if strings.Contains(description, "time range") {
			return wrongTime, true
		}
		return noMatch, true
	}
	found, known := verdicts[code]
	return found, known
}

func (r run) trustHint(exchange.Answer, string) string {
	return fmt.Sprintf("give %s a federated credential for this cluster's issuer, the subject %s and the audience %s (a new one takes minutes to have an effect)",
		r.config.ClientID, r.config.ServiceAccount.Subject(), r.config.Audience)
}

func (r run) clockHint(answer exchange.Answer, assertion string) string {
	return exchange.ClusterClock(answer.Header, assertion, whose)
}

// errorCode finds the number with which descriptions begin.
var errorCode = regexp.MustCompile(`^AADSTS([0-9]{1,10}):\s*`)

// directoryRefused is the error for a refused ServiceAccount's token.
func (r run) directoryRefused(answer exchange.Answer, assertion string) error {
	var body directoryError
	if err := r.directoryCall().Decode(answer, &body); err != nil {
		return err
	}
	refusal := exchange.Refusal{
		Class: exchange.ClassOfStatus(answer.Status),
		Code:  body.Error, Description: body.Description, RequestID: body.TraceID,
	}
	if match := errorCode.FindStringSubmatch(body.Description); match != nil {
		refusal.Code = "AADSTS" + match[1]
		// Behind the text stand ids and times.
		refusal.Description, _, _ = strings.Cut(body.Description[len(match[0]):], "Trace ID:")
		number, _ := strconv.Atoi(match[1]) // ten digits are a number
		body.Codes = append(body.Codes, number)
	}
	for _, code := range body.Codes {
		if found, known := verdictOn(code, refusal.Description); known {
			refusal.Class = found.class
			if found.hint != nil {
				refusal.Hint = found.hint(r, answer, assertion)
			}
			break
		}
	}
	if refusal.Class == providers.Denied && refusal.Hint == "" {
		refusal.Hint = r.trustHint(answer, assertion)
	}
	return r.directoryCall().Refused(answer, refusal, r.scrub)
}

// registryRefused is the error for a refused access token.
func (r run) registryRefused(answer exchange.Answer) error {
	var body struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if err := r.registryCall().Decode(answer, &body); err != nil {
		return err
	}
	refusal := exchange.Refusal{Class: exchange.ClassOfStatus(answer.Status)}
	if len(body.Errors) > 0 {
		refusal.Code, refusal.Description = body.Errors[0].Code, body.Errors[0].Message
	}
	switch refusal.Code {
	case "UNAUTHORIZED", "DENIED":
		refusal.Class = providers.Denied
	case "TOOMANYREQUESTS":
		refusal.Class = providers.Throttled
	}
	switch {
	case strings.Contains(refusal.Description, "is not allowed access"):
		refusal.Hint = "let the network rules of the registry admit this cluster"
	case refusal.Class == providers.Denied:
		refusal.Hint = fmt.Sprintf("give %s the role AcrPull on the registry; its directory must be %s",
			r.config.ClientID, r.config.TenantID)
	case refusal.Class == providers.Invalid:
		refusal.Hint = "check registry"
	}
	return r.registryCall().Refused(answer, refusal, r.scrub)
}
