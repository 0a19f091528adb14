package awsidentity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/smithy-go"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// Call is one call to AWS, as messages name it.
type Call struct {
	exchange.Call
	// Denied is what to do when the identity may not make the call.
	Denied string

	// verdicts overrule the general ones.
	verdicts map[string]verdict
	// clock says, from the answer's header, whose clock to set right if it
	// is not this machine's, which signs: a token's times are the cluster's.
	clock func(http.Header) string
}

// whose says in messages whose word or clock something is.
const whose = "AWS's"

// noCode is what the SDK puts for a code when it found none.
const noCode = "UnknownError"

// Failure turns the SDK's error about a call into one that may be shown. The
// call must be the latest one.
func (e *Exchange) Failure(ctx context.Context, call Call, err error) *providers.Error {
	refusal, refused := refusalIn(err)
	switch {
	case refused:
		return e.refused(call, err, refusal)
	case ctx.Err() != nil:
		return e.unfinished(ctx, call, err)
	case e.http.status == http.StatusTooManyRequests:
		failure := call.Errorf(providers.Throttled, "asked for fewer requests (429)")
		failure.RetryAfter, failure.Cause = e.retryAfter(), err
		return failure
	case e.http.status != 0:
		return call.Unreadable(e.http.status, e.http.header, err)
	default:
		return call.Unanswered(ctx, err)
	}
}

// refusalIn finds a refusal in AWS's own form.
func refusalIn(err error) (smithy.APIError, bool) {
	var refusal smithy.APIError
	found := errors.As(err, &refusal) && refusal.ErrorCode() != "" && refusal.ErrorCode() != noCode
	return refusal, found
}

// unfinished is the error when there was no time for an answer. What the last
// attempt met is more telling than that time ran out during the pause after it.
func (e *Exchange) unfinished(ctx context.Context, call Call, err error) *providers.Error {
	failure := call.Unanswered(ctx, err)
	if e.http.status != 0 {
		if exchange.ClassOfStatus(e.http.status) != providers.Transient {
			failure.Down = false // AWS did its work: it asked for fewer requests
		}
		failure.Message += fmt.Sprintf(" (last answer: %s)", exchange.StatusText(e.http.status))
		failure.RetryAfter = e.retryAfter()
	}
	return failure
}

// refused is the error for a refusal in AWS's own form.
func (e *Exchange) refused(call Call, err error, refusal smithy.APIError) *providers.Error {
	found := e.judge(call, refusal)
	if found.ofCredentials && e.forget != nil && e.signer == own {
		// The next attempt may find others, such as those of a new role.
		e.forget()
	}
	failure := call.Refused(exchange.Answer{Status: e.http.status, Header: e.http.header}, exchange.Refusal{
		Class: found.class, Hint: e.hint(call, found), RequestID: requestID(err),
		Code: refusal.ErrorCode(), Description: refusal.ErrorMessage(), NoCode: "an error without a readable code",
	}, e.scrub)
	failure.RetryAfter, failure.Cause = e.retryAfter(), err
	return failure
}

// hint says what to do; "" if nothing helps but another attempt.
func (e *Exchange) hint(call Call, found verdict) string {
	switch {
	case found.ofCredentials && e.signer == session:
		return "AWS does not take the session of " + e.who + ": was it revoked?"
	case found.ofCredentials && e.signer == own:
		return "AWS does not take the operator's own credentials"
	case found.class == providers.ClockSkew:
		return e.clockHint(call)
	case found.class == providers.Denied && found.hint == "":
		return call.Denied
	default:
		return found.hint
	}
}

func (e *Exchange) clockHint(call Call) string {
	if call.clock != nil {
		return call.clock(e.http.header)
	}
	if difference := exchange.Skew(e.http.header, e.now(), whose); difference != "" {
		return difference + ": set it right"
	}
	return "set this machine's clock right"
}

// requestID returns AWS's id for the request, which its support asks for; "" if
// it gave none.
func requestID(err error) string {
	var response interface{ ServiceRequestID() string }
	if !errors.As(err, &response) {
		return ""
	}
	return response.ServiceRequestID()
}

func (e *Exchange) retryAfter() time.Duration { return exchange.RetryAfter(e.http.header, e.now()) }
