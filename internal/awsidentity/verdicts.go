package awsidentity

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// verdict is what an error code of AWS means here.
type verdict struct {
	class providers.Class
	// hint says what to do; it may be empty.
	hint string
	// ofCredentials: the fault is in what signed the call, and hint speaks of
	// an access key.
	ofCredentials bool
}

// expiredWebToken is STS's code for a web identity token that is over or, in
// its opinion, too old.
const expiredWebToken = "ExpiredTokenException"

const (
	unknownKey    = "the access key is unknown, inactive or of another partition than the region"
	wrongSecret   = "secretKey does not belong to accessKeyID, or carries stray characters"
	endedSession  = "the credentials are of a session that has ended or was revoked: use the access key of an IAM user"
	ownFault      = "the request does not fit: check region and roles"
	wrongWebToken = "the role's identity provider does not take the web identity token: check its issuer and audience"
)

// verdicts are by error code. The SDK's own fault and retry hints are too
// coarse: most of the errors come with an unknown fault.
var verdicts = map[string]verdict{
	"AccessDenied":                         {class: providers.Denied},
	"AccessDeniedException":                {class: providers.Denied},
	"UnauthorizedOperation":                {class: providers.Denied},
	"BlockedByOrganizationPolicyException": {class: providers.Denied, hint: "an organisation's policy forbids the call"},
	"OptInRequired":                        {class: providers.Denied, hint: "the account is not opted in to the region"},
	"UnrecognizedClientException":          {providers.Denied, unknownKey, true},
	"InvalidClientTokenId":                 {providers.Denied, unknownKey, true},
	"InvalidAccessKeyId":                   {providers.Denied, unknownKey, true},
	"SignatureDoesNotMatch":                {providers.Denied, wrongSecret, true},
	"InvalidSignatureException":            {providers.Denied, wrongSecret, true},
	"IncompleteSignature":                  {providers.Denied, wrongSecret, true},
	"IncompleteSignatureException":         {providers.Denied, wrongSecret, true},
	"ExpiredToken":                         {providers.Denied, endedSession, true},
	expiredWebToken:                        {providers.Denied, endedSession, true},

	"RequestExpired":          {class: providers.ClockSkew},
	"RequestTimeTooSkewed":    {class: providers.ClockSkew},
	"RequestInTheFuture":      {class: providers.ClockSkew},
	"ClockSkew":               {class: providers.ClockSkew},
	"RegionDisabledException": {class: providers.Invalid, hint: "activate STS for the region in the account's settings"},

	"ValidationError":           {class: providers.Invalid, hint: ownFault},
	"ValidationException":       {class: providers.Invalid, hint: ownFault},
	"InvalidParameterException": {class: providers.Invalid, hint: ownFault},
	"InvalidParameterValue":     {class: providers.Invalid, hint: ownFault},
	"MalformedPolicyDocument":   {class: providers.Invalid, hint: ownFault},
	"PackedPolicyTooLarge":      {class: providers.Invalid, hint: ownFault},

	// Calls with a ServiceAccount's token say more; these are of the
	// operator's own role for service accounts.
	"InvalidIdentityToken": {class: providers.Invalid, hint: wrongWebToken},
	"IDPRejectedClaim":     {class: providers.Invalid, hint: wrongWebToken},

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
	text  string
	class providers.Class
}{
	{"Signature expired", providers.ClockSkew},
	{"Signature not yet current", providers.ClockSkew},
	{"current date/time", providers.ClockSkew},
	{"not valid yet", providers.ClockSkew},
	{"Couldn't retrieve verification key", providers.Transient},
}

// judge finds the verdict on a refusal.
func (e *Exchange) judge(call Call, refusal smithy.APIError) verdict {
	code := refusal.ErrorCode()
	if _, throttled := retry.DefaultThrottleErrorCodes[code]; throttled {
		return verdict{class: providers.Throttled}
	}
	for _, special := range descriptionVerdicts {
		if strings.Contains(refusal.ErrorMessage(), special.text) {
			return verdict{class: special.class}
		}
	}
	if found, known := call.verdicts[code]; known {
		return found
	}
	if found, known := verdicts[code]; known {
		return found
	}
	// A code that nobody foresaw is judged by the status. 400 tells nothing,
	// as AWS gives it to throttling and refused identities, too: what isn't
	// known to stay is tried again.
	class := exchange.ClassOfStatus(e.http.status)
	if class == providers.Invalid {
		class = providers.Transient
	}
	return verdict{class: class}
}
