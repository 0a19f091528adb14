package ecr

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"

	"github.com/imagepullsecrets/operator/providers"
)

// call is one of the two calls of an exchange, as messages name it.
type call struct {
	action, host string
	// denied is what to do when the identity may not make the call.
	denied string
}

// String begins every message about the call.
func (c call) String() string { return fmt.Sprintf("%s at %s", c.action, c.host) }

func (p *Provider) assumeRole() call {
	return call{
		action: "sts:AssumeRole",
		host:   p.endpoints.sts,
		denied: fmt.Sprintf("let the trust policy of %s name the access key's user, and grant the user sts:AssumeRole on the role", p.config.RoleARN),
	}
}

func (p *Provider) getToken() call {
	who := "the access key's user"
	if p.config.RoleARN != "" {
		who = p.config.RoleARN
	}
	return call{
		action: "ecr:GetAuthorizationToken",
		host:   p.endpoints.ecr,
		denied: "grant ecr:GetAuthorizationToken on resource * to " + who,
	}
}

// verdict is what an error code of AWS means here.
type verdict struct {
	class providers.Class
	// hint says what to do; it may be empty.
	hint string
}

const (
	unknownKey     = "the access key is unknown, inactive or of another partition than the region"
	wrongSecret    = "secretKey does not belong to accessKeyID, or carries stray characters"
	endedSession   = "the credentials are of a session that has ended or was revoked: use the access key of an IAM user"
	correctTheTime = "set this machine's clock right"
	ownFault       = "the request does not fit: check region, accountID and roleArn"
	wrongWebToken  = "the role's identity provider does not take the web identity token: check its issuer and audience"
)

// verdicts are by error code. The SDK's own fault and retry hints are too
// coarse: most of the errors come with an unknown fault.
var verdicts = map[string]verdict{
	"AccessDenied":                         {class: providers.Denied},
	"AccessDeniedException":                {class: providers.Denied},
	"UnauthorizedOperation":                {class: providers.Denied},
	"BlockedByOrganizationPolicyException": {providers.Denied, "an organisation's policy forbids the call"},
	"OptInRequired":                        {providers.Denied, "the account is not opted in to the region"},
	"UnrecognizedClientException":          {providers.Denied, unknownKey},
	"InvalidClientTokenId":                 {providers.Denied, unknownKey},
	"InvalidAccessKeyId":                   {providers.Denied, unknownKey},
	"SignatureDoesNotMatch":                {providers.Denied, wrongSecret},
	"InvalidSignatureException":            {providers.Denied, wrongSecret},
	"IncompleteSignature":                  {providers.Denied, wrongSecret},
	"IncompleteSignatureException":         {providers.Denied, wrongSecret},
	"ExpiredToken":                         {providers.Denied, endedSession},
	"ExpiredTokenException":                {providers.Denied, endedSession},

	"RequestExpired":          {providers.ClockSkew, correctTheTime},
	"RequestTimeTooSkewed":    {providers.ClockSkew, correctTheTime},
	"RequestInTheFuture":      {providers.ClockSkew, correctTheTime},
	"ClockSkew":               {providers.ClockSkew, correctTheTime},
	"RegionDisabledException": {providers.Invalid, "activate STS for the region in the account's settings"},

	"ValidationError":           {providers.Invalid, ownFault},
	"ValidationException":       {providers.Invalid, ownFault},
	"InvalidParameterException": {providers.Invalid, ownFault},
	"InvalidParameterValue":     {providers.Invalid, ownFault},
	"MalformedPolicyDocument":   {providers.Invalid, ownFault},
	"PackedPolicyTooLarge":      {providers.Invalid, ownFault},

	"InvalidIdentityToken": {providers.Invalid, wrongWebToken},
	"IDPRejectedClaim":     {providers.Invalid, wrongWebToken},

	"IDPCommunicationError":       {class: providers.Transient},
	"ServerException":             {class: providers.Transient},
	"InternalFailure":             {class: providers.Transient},
	"InternalError":               {class: providers.Transient},
	"InternalServerError":         {class: providers.Transient},
	"ServiceUnavailable":          {class: providers.Transient},
	"ServiceUnavailableException": {class: providers.Transient},
}

// descriptionVerdicts overrule the code's verdict: AWS puts several causes
// under one code and tells them apart in the text only.
var descriptionVerdicts = []struct {
	text string
	verdict
}{
	{"Signature expired", verdict{providers.ClockSkew, correctTheTime}},
	{"Signature not yet current", verdict{providers.ClockSkew, correctTheTime}},
	{"current date/time", verdict{providers.ClockSkew, correctTheTime}},
	{"Couldn't retrieve verification key", verdict{class: providers.Transient}},
}

// noCode is what the SDK puts for a code when it found none.
const noCode = "UnknownError"

// failure turns an error of the SDK into one that may be shown.
func (e exchange) failure(ctx context.Context, c call, err error) *providers.Error {
	var refusal smithy.APIError
	switch {
	case errors.As(err, &refusal) && refusal.ErrorCode() != "" && refusal.ErrorCode() != noCode:
		return e.refused(c, err, refusal)
	case ctx.Err() != nil:
		return e.transient(c, err, e.unfinished(ctx.Err()))
	case e.http.last.status == http.StatusTooManyRequests:
		return &providers.Error{Class: providers.Throttled, RetryAfter: e.retryAfter(), Cause: err,
			Message: fmt.Sprintf("%s: asked for fewer requests (429)", c)}
	case e.http.last.status != 0:
		return e.transient(c, err, e.unreadableAnswer(err))
	default:
		return e.transient(c, err, noConnection(err))
	}
}

func (e exchange) transient(c call, err error, what string) *providers.Error {
	return &providers.Error{Class: providers.Transient, RetryAfter: e.retryAfter(), Cause: err,
		Message: fmt.Sprintf("%s: %s", c, what)}
}

// unfinished says why there was no time for an answer. What the last attempt
// met is more telling than that time ran out during the pause after it.
func (e exchange) unfinished(ended error) string {
	what := "no answer within the time allowed"
	if errors.Is(ended, context.Canceled) {
		what = "cancelled"
	}
	if e.http.last.status != 0 {
		what += fmt.Sprintf(" (last answer: %s)", statusText(e.http.last.status))
	}
	return what
}

// refused is the error for a refusal in AWS's own form.
func (e exchange) refused(c call, err error, refusal smithy.APIError) *providers.Error {
	found := e.judge(refusal)
	if found.class == providers.Denied && found.hint == "" {
		found.hint = c.denied
	}
	if difference := e.clockDifference(); found.class == providers.ClockSkew && difference != "" {
		found.hint = difference + ": set it right"
	}
	code := e.scrub.name(refusal.ErrorCode())
	if code == "" {
		code = "an error without a readable code"
	}
	message := fmt.Sprintf("%s: %s", c, code)
	if description := e.scrub.describe(refusal.ErrorMessage()); description != "" {
		message += ": " + description
	}
	if id := e.requestID(err); id != "" {
		message += " (request id " + id + ")"
	}
	if found.hint != "" {
		message += "; " + found.hint
	}
	return &providers.Error{Class: found.class, Message: message, RetryAfter: e.retryAfter(), Cause: err}
}

// judge finds the verdict on a refusal. A code that nobody foresaw is judged
// by the status: what isn't known to stay is tried again.
func (e exchange) judge(refusal smithy.APIError) verdict {
	code := refusal.ErrorCode()
	if _, throttled := retry.DefaultThrottleErrorCodes[code]; throttled {
		return verdict{class: providers.Throttled}
	}
	for _, special := range descriptionVerdicts {
		if strings.Contains(refusal.ErrorMessage(), special.text) {
			return special.verdict
		}
	}
	if found, known := verdicts[code]; known {
		return found
	}
	switch e.http.last.status {
	case http.StatusTooManyRequests:
		return verdict{class: providers.Throttled}
	case http.StatusUnauthorized, http.StatusForbidden:
		return verdict{class: providers.Denied}
	default:
		return verdict{class: providers.Transient}
	}
}

// requestID returns AWS's id for the request, which its support asks for.
func (e exchange) requestID(err error) string {
	var response interface{ ServiceRequestID() string }
	if !errors.As(err, &response) {
		return ""
	}
	return e.scrub.name(response.ServiceRequestID())
}

// maxRetryAfter bounds what an answer may ask for, so that nobody on the way
// can put a credential to sleep.
const maxRetryAfter = time.Hour

// retryAfter returns what the last answer's header asks for, or 0.
func (e exchange) retryAfter() time.Duration {
	value := e.http.last.header.Get("Retry-After")
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Duration(min(max(seconds, 0), int64(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(e.now()), 0), maxRetryAfter)
	}
	return 0
}

// tolerance is the difference between two clocks that is not worth a word.
const tolerance = 30 * time.Second

// clockDifference compares the last answer's date with this machine's clock.
func (e exchange) clockDifference() string {
	date, err := http.ParseTime(e.http.last.header.Get("Date"))
	if err != nil {
		return ""
	}
	behind := date.Sub(e.now()).Round(time.Second)
	switch {
	case behind > tolerance:
		return fmt.Sprintf("this machine's clock is %s behind AWS's", behind)
	case behind < -tolerance:
		return fmt.Sprintf("this machine's clock is %s ahead of AWS's", -behind)
	default:
		return ""
	}
}

// unreadableAnswer describes an answer that is not AWS's. Its body is not
// shown: nobody knows what is in it.
func (e exchange) unreadableAnswer(err error) string {
	last := e.http.last
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return fmt.Sprintf("the answer (%s) is longer than %d bytes", statusText(last.status), tooLong.Limit)
	case last.status >= 300 && last.status < 400:
		return fmt.Sprintf("answered with a redirect (%s), which is not followed; a proxy in between?", statusText(last.status))
	case strings.HasSuffix(last.contentType, "html"):
		return fmt.Sprintf("answered %s with %s instead of JSON or XML; a proxy in between?", statusText(last.status), last.contentType)
	case last.status >= 500:
		return fmt.Sprintf("answered %s", statusText(last.status))
	default:
		return fmt.Sprintf("answered %s with %s that can't be read; a proxy in between?",
			statusText(last.status), orElse(last.contentType, "a body of no type"))
	}
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// noConnection describes why nothing was answered. Only errors whose text is
// known to be harmless are told in full.
func noConnection(err error) string {
	var (
		lookup      *net.DNSError
		refusal     *proxyRefusal
		certificate *tls.CertificateVerificationError
		number      syscall.Errno
		operation   *net.OpError
		timeout     net.Error
	)
	switch {
	case errors.Is(err, errProxySetting):
		return errProxySetting.Error()
	case errors.As(err, &refusal):
		return refusal.Error()
	case errors.As(err, &certificate):
		return "the certificate is not trusted; behind a proxy that opens TLS, its CA must be among the system's (SSL_CERT_FILE)"
	case errors.As(err, &lookup) && lookup.IsNotFound:
		return fmt.Sprintf("the host %s does not exist in DNS; check the region, whether it has such endpoints, and HTTPS_PROXY", lookup.Name)
	case errors.As(err, &lookup):
		return fmt.Sprintf("the host %s could not be looked up; check DNS and HTTPS_PROXY", lookup.Name)
	case errors.As(err, &operation) && operation.Op == "proxyconnect":
		return "the proxy of HTTPS_PROXY could not be reached"
	case errors.As(err, &number):
		return fmt.Sprintf("could not be reached: %s; check HTTPS_PROXY and network policies", number.Error())
	case errors.As(err, &timeout) && timeout.Timeout():
		return "could not be reached in time; check HTTPS_PROXY and network policies"
	default:
		return "the connection failed; check HTTPS_PROXY and network policies"
	}
}
