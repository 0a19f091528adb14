package fakecloud

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	sigV4Algorithm = "AWS4-HMAC-SHA256"
	sigV4Time      = "20060102T150405Z"
	sigV4Window    = 5 * time.Minute // how far a signature's time may be from ours
)

// authReason is why a request is not authenticated. Each protocol has its own
// error code for it.
type authReason int

const (
	authMissing    authReason = iota + 1 // there is no signature at all
	authIncomplete                       // the signature is malformed or covers too little
	authUnknownKey                       // no such key, an inactive one, or a wrong session token
	authExpired                          // the session is over
	authMismatch                         // wrong secret, time or scope
)

// authError tells a caller, in the words of the real services, why its request is
// not authenticated.
type authError struct {
	reason  authReason
	message string
}

func (e *authError) Error() string { return e.message }

// signature is the Authorization header of a signed request, taken apart.
type signature struct {
	keyID   string
	scope   []string // date, region, service, terminator
	headers []string
	value   string
	time    time.Time
}

// authenticate returns who signed a request that arrived at an endpoint. Its error
// is always an *authError.
func (i *iam) authenticate(r *http.Request, body []byte, at awsEndpoint) (principal, error) {
	s, err := parseSignature(r)
	if err != nil {
		return principal{}, err
	}
	credential, ok := i.find(s.keyID, at.partition.name)
	if !ok {
		return principal{}, &authError{authUnknownKey, "The security token included in the request is invalid."}
	}
	if err := s.checkTime(i.clock()); err != nil {
		return principal{}, err
	}
	if err := s.checkScope(at); err != nil {
		return principal{}, err
	}
	if err := credential.checkSession(r, i.clock()); err != nil {
		return principal{}, err
	}
	expected, err := s.recompute(r, body, credential)
	if err != nil {
		return principal{}, err
	}
	if subtle.ConstantTimeCompare([]byte(expected), []byte(s.value)) != 1 {
		return principal{}, &authError{authMismatch, "The request signature we calculated does not match the signature you provided. " +
			"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."}
	}
	return credential.owner, nil
}

// parseSignature reads the signature of a request from its headers. Signatures in
// the query are not supported: no client of these services uses them.
func parseSignature(r *http.Request) (signature, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return signature{}, &authError{authMissing, "Request is missing Authentication Token"}
	}
	incomplete := func(what string) (signature, error) {
		return signature{}, &authError{authIncomplete, what}
	}
	rest, ok := strings.CutPrefix(header, sigV4Algorithm+" ")
	if !ok {
		return incomplete("Unsupported AWS 'algorithm'.")
	}
	parameters := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		parameters[name] = value
	}
	for _, name := range []string{"Credential", "SignedHeaders", "Signature"} {
		if parameters[name] == "" {
			return incomplete(fmt.Sprintf("Authorization header requires '%s' parameter.", name))
		}
	}
	credential := strings.Split(parameters["Credential"], "/")
	if len(credential) != 5 || credential[4] != "aws4_request" {
		return incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.")
	}
	signed, err := time.Parse(sigV4Time, r.Header.Get("X-Amz-Date"))
	if err != nil {
		return incomplete("Date must be in ISO-8601 'basic format'.")
	}
	s := signature{
		keyID: credential[0], scope: credential[1:], time: signed,
		headers: strings.Split(parameters["SignedHeaders"], ";"), value: parameters["Signature"],
	}
	return s, s.checkCoverage(r)
}

// checkCoverage demands that the host and all that AWS gives a meaning to is
// signed.
func (s signature) checkCoverage(r *http.Request) error {
	if !slices.Contains(s.headers, "host") {
		return &authError{authIncomplete, "'Host' must be a 'SignedHeader' in the AWS Authorization."}
	}
	for name := range r.Header {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "x-amz-") && !slices.Contains(s.headers, name) {
			return &authError{authMismatch, fmt.Sprintf("'%s' must be a 'SignedHeader' in the AWS Authorization.", name)}
		}
	}
	return nil
}

// checkTime refuses a signature that is too old or from the future.
func (s signature) checkTime(now time.Time) error {
	signed, server := s.time.Format(sigV4Time), now.UTC().Format(sigV4Time)
	if oldest := now.Add(-sigV4Window); s.time.Before(oldest) {
		return &authError{authMismatch, fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - 5 min.)",
			signed, oldest.UTC().Format(sigV4Time), server)}
	}
	if newest := now.Add(sigV4Window); s.time.After(newest) {
		return &authError{authMismatch, fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + 5 min.)",
			signed, newest.UTC().Format(sigV4Time), server)}
	}
	return nil
}

// checkScope refuses a signature made for another day, region or service.
func (s signature) checkScope(at awsEndpoint) error {
	date, region, service := s.scope[0], s.scope[1], s.scope[2]
	switch {
	case date != s.time.Format("20060102"):
		return &authError{authMismatch, fmt.Sprintf("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s'.",
			date, s.time.Format("20060102"))}
	case region != at.region:
		return &authError{authMismatch, fmt.Sprintf("Credential should be scoped to a valid region, not '%s'.", region)}
	case service != at.service:
		return &authError{authMismatch, fmt.Sprintf("Credential should be scoped to correct service: '%s'.", at.service)}
	}
	return nil
}

// checkSession refuses a session key without its token or past its time, and a
// token on a key that has none.
func (c awsCredential) checkSession(r *http.Request, now time.Time) error {
	token := r.Header.Get("X-Amz-Security-Token")
	if subtle.ConstantTimeCompare([]byte(token), []byte(c.token)) != 1 {
		return &authError{authUnknownKey, "The security token included in the request is invalid."}
	}
	if c.token != "" && !now.Before(c.expires) {
		return &authError{authExpired, "The security token included in the request is expired"}
	}
	return nil
}

// recompute signs the request again with the secret that the cloud holds, covering
// the headers that the client covered, and returns the signature. The hash is that
// of the body which arrived: the one that the client claims proves nothing.
func (s signature) recompute(r *http.Request, body []byte, credential awsCredential) (string, error) {
	again, err := http.NewRequestWithContext(r.Context(), r.Method, "https://"+r.Host+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return "", &authError{authIncomplete, "The request cannot be read."}
	}
	again.Host = r.Host
	again.ContentLength = 0 // the signer covers the length if there is one, but not every client does
	for _, name := range s.headers {
		switch name {
		case "host": // from again.Host
		case "content-length":
			again.ContentLength = int64(len(body))
		default:
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	hash := sha256.Sum256(body)
	key := aws.Credentials{AccessKeyID: s.keyID, SecretAccessKey: credential.secret, SessionToken: credential.token}
	err = v4.NewSigner().SignHTTP(r.Context(), key, again, hex.EncodeToString(hash[:]), s.scope[2], s.scope[1], s.time)
	if err != nil {
		return "", &authError{authIncomplete, "The request cannot be signed."}
	}
	_, value, _ := strings.Cut(again.Header.Get("Authorization"), "Signature=")
	return value, nil
}
