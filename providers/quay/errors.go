package quay

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// Quay refuses by one status and without codes, so that its reasons are told
// apart by their texts.
var (
	// timeTexts are of tokens that are not valid at this time.
	timeTexts = []string{"has expired", "not yet valid"}
	// robotTexts are of robots that don't exist.
	robotTexts = []string{"Invalid robot", "Could not find robot"}
)

// refused is the error for a refused ServiceAccount's token.
func (p *Provider) refused(answer exchange.Answer, token string, scrub *exchange.Scrubber) error {
	var body struct {
		// Error is the endpoint's own; the others are those of Quay's API.
		Error        string `json:"error"`
		ErrorMessage string `json:"error_message"`
		Message      string `json:"message"`
	}
	if err := p.call().Decode(answer, &body); err != nil && answer.Status != http.StatusNotFound {
		return err
	}
	refusal := exchange.Refusal{
		Class:       exchange.ClassOfStatus(answer.Status),
		Description: cmp.Or(body.Error, body.ErrorMessage, body.Message),
	}
	switch {
	case answer.Status == http.StatusNotFound:
		refusal.Hint = "check registry; robot federation needs Quay 3.13 or later"
	case refusal.Class != providers.Denied:
	case exchange.Mentions(refusal.Description, timeTexts):
		refusal.Class, refusal.Hint = providers.ClockSkew, exchange.ClusterClock(answer.Header, token, whose)
	case exchange.Mentions(refusal.Description, robotTexts):
		refusal.Hint = fmt.Sprintf("check robot: is there a robot account %s?", p.config.Robot)
	default:
		refusal.Hint = fmt.Sprintf("let the robot federation of %s name this cluster's issuer, the subject %s and, if it names audiences, %s",
			p.config.Robot, p.config.ServiceAccount.Subject(), p.config.Audience)
	}
	return p.call().Refused(answer, refusal, scrub)
}

// unanswered adds to a request's error what can be done about it here.
func (p *Provider) unanswered(err error) error {
	var certificate *tls.CertificateVerificationError
	var failure *providers.Error
	if errors.As(err, &certificate) && errors.As(err, &failure) {
		failure.Message = p.call().String() +
			": the certificate is not trusted; let caBundle hold the CA that signed it, which may be that of a proxy"
	}
	return err
}
