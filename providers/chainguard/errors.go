package chainguard

import (
	"fmt"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// status is google.rpc.Status, as far as it is of interest.
type status struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// verdict is what a code of google.rpc means here.
type verdict struct {
	// name is the code's, as gRPC writes it.
	name  string
	class providers.Class
}

// verdicts are by google.rpc.Code. A missing identity is Denied rather than
// Invalid: it may be about to be created.
var verdicts = map[int]verdict{
	1:  {"Canceled", providers.Transient},
	2:  {"Unknown", providers.Transient},
	3:  {"InvalidArgument", providers.Invalid},
	4:  {"DeadlineExceeded", providers.Transient},
	5:  {"NotFound", providers.Denied},
	7:  {"PermissionDenied", providers.Denied},
	8:  {"ResourceExhausted", providers.Throttled},
	9:  {"FailedPrecondition", providers.Denied},
	10: {"Aborted", providers.Transient},
	12: {"Unimplemented", providers.Invalid},
	13: {"Internal", providers.Transient},
	14: {"Unavailable", providers.Transient},
	15: {"DataLoss", providers.Transient},
	16: {"Unauthenticated", providers.Denied},
}

// timeTexts are what Chainguard's verification says of a token that is not
// valid at this time; the code is that of any other token that it refuses.
var timeTexts = []string{"token is expired", "before the nbf", "issued in the future"}

// refused is the error for a refusal of a ServiceAccount's token.
func (p *Provider) refused(answer exchange.Answer, token string) error {
	var body status
	if err := call.Decode(answer, &body); err != nil {
		return err
	}
	found, known := verdicts[body.Code]
	if !known {
		found.class = exchange.ClassOfStatus(answer.Status)
	}
	refusal := exchange.Refusal{Class: found.class, Code: found.name, Description: body.Message}
	switch refusal.Class {
	case providers.Denied:
		refusal.Hint = p.trustHint()
		if exchange.Mentions(body.Message, timeTexts) {
			refusal.Class, refusal.Hint = providers.ClockSkew, exchange.ClusterClock(answer.Header, token, whose)
		}
	case providers.Invalid:
		refusal.Hint = "check identity " + p.config.Identity
	}
	return call.Refused(answer, refusal, exchange.NewScrubber(token))
}

// trustHint says what Chainguard's side must look like.
func (p *Provider) trustHint() string {
	return fmt.Sprintf("let the identity %s trust this cluster's issuer, the subject %s and the audience %s, and give it a role with registry.pull",
		p.config.Identity, p.config.ServiceAccount.Subject(), p.config.Audience)
}
