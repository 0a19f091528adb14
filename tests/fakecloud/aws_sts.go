package fakecloud

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	stsNamespace   = "https://sts.amazonaws.com/doc/2011-06-15/"
	stsVersion     = "2011-06-15"
	minSession     = 15 * time.Minute
	maxSession     = 12 * time.Hour
	maxChained     = time.Hour // of a role assumed by a session
	defaultSession = time.Hour
)

// sts is the AWS Security Token Service.
type sts struct {
	clock   func() time.Time
	iam     *iam
	issuers *issuers
}

func newSTS(clock func() time.Time, iam *iam, issuers *issuers) *sts {
	return &sts{clock: clock, iam: iam, issuers: issuers}
}

func (*sts) service() Service { return STS }

func (*sts) owns(host string) bool {
	_, ok := stsEndpoint(host)
	return ok
}

// stsError is an error of the service, as its wire format has it.
type stsError struct {
	status  int
	code    string
	message string
}

func (e *stsError) Error() string { return e.code + ": " + e.message }

func (s *sts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := s.answer(w, r)
	if err != nil {
		writeSTSError(w, err)
		return
	}
	writeXML(w, http.StatusOK, answer)
}

// answer performs the action that a request asks for. An action more is a case
// more; each authenticates its caller in its own way.
func (s *sts) answer(w http.ResponseWriter, r *http.Request) (any, error) {
	at, _ := stsEndpoint(hostKey(r.Host))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, requestLimit))
	if err != nil {
		return nil, &stsError{http.StatusBadRequest, "MalformedInput", "The request body cannot be read."}
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, &stsError{http.StatusBadRequest, "MalformedQueryString", "The query string contains a syntax error."}
	}
	action, version := form.Get("Action"), form.Get("Version")
	if version == stsVersion && r.Method == http.MethodPost {
		switch action {
		case "AssumeRole":
			caller, err := s.iam.authenticate(r, body, at)
			if err != nil {
				return nil, err
			}
			return s.assumeRole(caller, at, form)
		case "AssumeRoleWithWebIdentity":
			return s.assumeRoleWithWebIdentity(r.Context(), at, form)
		}
	}
	return nil, &stsError{http.StatusBadRequest, "InvalidAction", fmt.Sprintf("Could not find operation %s for version %s", action, version)}
}

// assumeRole checks what the caller asks for, then whether it may.
func (s *sts) assumeRole(caller principal, at awsEndpoint, form url.Values) (any, error) {
	arn, name, externalID := form.Get("RoleArn"), form.Get("RoleSessionName"), form.Get("ExternalId")
	if parsed, ok := parseRoleARN(arn); !ok || parsed.partition != at.partition.name {
		return nil, validationError("Request ARN is invalid")
	}
	if err := sessionNameConstraint.check(name); err != nil {
		return nil, err
	}
	if form.Has("ExternalId") {
		if err := externalIDConstraint.check(externalID); err != nil {
			return nil, err
		}
	}
	duration, err := sessionDuration(form)
	if err != nil {
		return nil, err
	}
	if err := s.iam.checkSTS(caller.account, at); err != nil {
		return nil, err
	}
	role, ok := s.iam.assumable(caller, arn, externalID)
	if !ok {
		return nil, &stsError{http.StatusForbidden, "AccessDenied",
			fmt.Sprintf("User: %s is not authorized to perform: sts:AssumeRole on resource: %s", caller.arn, arn)}
	}
	if caller.session && duration > maxChained {
		return nil, validationError("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	}
	if duration > role.trust.MaxDuration {
		return nil, validationError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return newAssumeRoleResponse(s.iam.open(role, name, duration), name), nil
}

// stsConstraint is what the service demands of a member of a request.
type stsConstraint struct {
	member   string
	min, max int
	pattern  *regexp.Regexp
}

var (
	sessionNameConstraint = stsConstraint{"roleSessionName", 2, 64, regexp.MustCompile(`^[\w+=,.@-]*$`)}
	externalIDConstraint  = stsConstraint{"externalId", 2, 1224, regexp.MustCompile(`^[\w+=,.@:/-]*$`)}
)

func (c stsConstraint) check(value string) error {
	var unmet string
	switch {
	case !c.pattern.MatchString(value):
		unmet = "satisfy regular expression pattern: " + strings.Trim(c.pattern.String(), "^$")
	case len(value) < c.min:
		unmet = fmt.Sprintf("have length greater than or equal to %d", c.min)
	case len(value) > c.max:
		unmet = fmt.Sprintf("have length less than or equal to %d", c.max)
	default:
		return nil
	}
	return constraintError(value, c.member, unmet)
}

func constraintError(value, member, unmet string) error {
	return validationError(fmt.Sprintf("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must %s",
		value, member, unmet))
}

// sessionDuration reads how long a session is to last, within what any role may
// allow.
func sessionDuration(form url.Values) (time.Duration, error) {
	value := form.Get("DurationSeconds")
	if value == "" {
		return defaultSession, nil
	}
	seconds, err := strconv.ParseInt(value, 10, 32)
	if err != nil {
		return 0, &stsError{http.StatusBadRequest, "MalformedInput", "DurationSeconds is not an integer."}
	}
	switch duration := time.Duration(seconds) * time.Second; {
	case duration < minSession:
		return 0, constraintError(value, "durationSeconds", "have value greater than or equal to 900")
	case duration > maxSession:
		return 0, constraintError(value, "durationSeconds", "have value less than or equal to 43200")
	default:
		return duration, nil
	}
}

func validationError(message string) error {
	return &stsError{http.StatusBadRequest, "ValidationError", message}
}

// stsAuthErrors gives the reasons of a failed authentication their codes.
var stsAuthErrors = map[authReason]stsError{
	authMissing:    {status: http.StatusForbidden, code: "MissingAuthenticationToken"},
	authIncomplete: {status: http.StatusBadRequest, code: "IncompleteSignature"},
	authUnknownKey: {status: http.StatusForbidden, code: "InvalidClientTokenId"},
	authExpired:    {status: http.StatusForbidden, code: "ExpiredToken"},
	authMismatch:   {status: http.StatusForbidden, code: "SignatureDoesNotMatch"},
}

// stsFaults gives the injected faults that are errors their codes.
var stsFaults = map[FaultKind]stsError{
	Throttle:    {http.StatusBadRequest, "Throttling", "Rate exceeded"},
	ServerError: {http.StatusInternalServerError, "InternalFailure", "The request processing has failed because of an unknown error, exception or failure."},
	Denied:      {http.StatusForbidden, "AccessDenied", "Not authorized to perform sts:AssumeRole"},
}

func (*sts) writeFault(w http.ResponseWriter, kind FaultKind) {
	if kind == Empty {
		writeXML(w, http.StatusOK, &emptySTSResponse{Namespace: stsNamespace, RequestID: newRequestID()})
		return
	}
	fault := stsFaults[kind]
	writeSTSError(w, &fault)
}

// emptySTSResponse is an answer without credentials. A fault does not know which
// action it befalls, so this has the result of both: a client reads its own.
type emptySTSResponse struct {
	XMLName     xml.Name `xml:"AssumeRoleResponse"`
	Namespace   string   `xml:"xmlns,attr"`
	Role        struct{} `xml:"AssumeRoleResult"`
	WebIdentity struct{} `xml:"AssumeRoleWithWebIdentityResult"`
	RequestID   string   `xml:"ResponseMetadata>RequestId"`
}

// assumeRoleResponse is the answer to AssumeRole on the wire.
type assumeRoleResponse struct {
	XMLName     xml.Name        `xml:"AssumeRoleResponse"`
	Namespace   string          `xml:"xmlns,attr"`
	User        *xmlAssumedRole `xml:"AssumeRoleResult>AssumedRoleUser"`
	Credentials *xmlCredentials `xml:"AssumeRoleResult>Credentials"`
	RequestID   string          `xml:"ResponseMetadata>RequestId"`
}

type xmlAssumedRole struct {
	Arn           string
	AssumedRoleID string `xml:"AssumedRoleId"`
}

type xmlCredentials struct {
	AccessKeyID     string `xml:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Expiration      string
}

func newAssumeRoleResponse(s awsSession, name string) *assumeRoleResponse {
	return &assumeRoleResponse{
		Namespace: stsNamespace,
		User:      &xmlAssumedRole{Arn: s.arn, AssumedRoleID: s.roleID + ":" + name},
		Credentials: &xmlCredentials{
			AccessKeyID: s.keyID, SecretAccessKey: s.secret, SessionToken: s.token,
			Expiration: s.expires.UTC().Format(time.RFC3339),
		},
		RequestID: newRequestID(),
	}
}

// xmlError is an error on the wire.
type xmlError struct {
	XMLName   xml.Name `xml:"ErrorResponse"`
	Namespace string   `xml:"xmlns,attr"`
	Type      string   `xml:"Error>Type"`
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

func writeSTSError(w http.ResponseWriter, err error) {
	failure := asSTSError(err)
	fault := "Sender"
	if failure.status >= http.StatusInternalServerError {
		fault = "Receiver"
	}
	writeXML(w, failure.status, &xmlError{
		Namespace: stsNamespace, Type: fault, Code: failure.code, Message: failure.message, RequestID: newRequestID(),
	})
}

func asSTSError(err error) *stsError {
	if unauthenticated, ok := errors.AsType[*authError](err); ok {
		known := stsAuthErrors[unauthenticated.reason]
		return &stsError{known.status, known.code, unauthenticated.message}
	}
	if failure, ok := errors.AsType[*stsError](err); ok {
		return failure
	}
	return &stsError{http.StatusInternalServerError, "InternalFailure", err.Error()}
}

// writeXML sends an answer of the awsQuery protocol.
func writeXML(w http.ResponseWriter, status int, answer any) {
	body, err := xml.MarshalIndent(answer, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("X-Amzn-Requestid", requestIDOf(answer))
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// requestIDOf returns the request ID in an answer, which the header repeats.
func requestIDOf(answer any) string {
	switch a := answer.(type) {
	case *assumeRoleResponse:
		return a.RequestID
	case *webIdentityResponse:
		return a.RequestID
	case *emptySTSResponse:
		return a.RequestID
	case *xmlError:
		return a.RequestID
	default:
		return newRequestID()
	}
}
