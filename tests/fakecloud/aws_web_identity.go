package fakecloud

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	defaultOIDCClientID = "sts.amazonaws.com"
	maxWebIdentityToken = 20_000
	maxWebIdentityAge   = 24 * time.Hour
)

// WebIdentity is an entry of a role's trust policy for bearers of OIDC tokens.
type WebIdentity struct {
	// Issuer is the URL of an issuer that the role's account has a provider for:
	// see [Cloud.AddOIDCProvider].
	Issuer string
	// Audience must be in the token's aud. Empty means any that the provider
	// allows.
	Audience string
	// Subject must be the token's sub, or its beginning if it ends in "*". Empty
	// means any.
	Subject string
}

// AddOIDCProvider registers an issuer with an account, for tokens to one of the
// client IDs. Without a client ID that is sts.amazonaws.com. An issuer that is
// registered already has its client IDs replaced. The cloud must know the issuer's keys
// too: see [Cloud.AddIssuer]. It panics on an account that is not twelve digits.
func (c *Cloud) AddOIDCProvider(account, issuerURL string, clientIDs ...string) {
	if !isAccountID(account) {
		panic(fmt.Sprintf("fakecloud: %q is no AWS account ID", account))
	}
	if len(clientIDs) == 0 {
		clientIDs = []string{defaultOIDCClientID}
	}
	c.iam.mu.Lock()
	defer c.iam.mu.Unlock()
	c.iam.providers[oidcProvider{account, issuerURL}] = slices.Clone(clientIDs)
}

// oidcProvider names an issuer that an account has registered.
type oidcProvider struct{ account, issuer string }

// clientIDs returns the audiences that an account takes tokens of an issuer for.
func (i *iam) clientIDs(account, issuer string) ([]string, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	clientIDs, ok := i.providers[oidcProvider{account, issuer}]
	return clientIDs, ok
}

// assumableBy returns a role if its trust policy lets the bearer of a token assume
// it.
func (i *iam) assumableBy(claims tokenClaims, arn string) (awsRole, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	role, ok := i.roles[arn]
	return role, ok && slices.ContainsFunc(role.trust.WebIdentities, func(w WebIdentity) bool { return w.means(claims) })
}

func (w WebIdentity) means(claims tokenClaims) bool {
	prefix, wildcard := strings.CutSuffix(w.Subject, "*")
	return w.Issuer == claims.Issuer &&
		(w.Audience == "" || slices.Contains(claims.Audience, w.Audience)) &&
		(w.Subject == "" || w.Subject == claims.Subject || wildcard && strings.HasPrefix(claims.Subject, prefix))
}

// assumeRoleWithWebIdentity checks what is asked for, then the token, then whether
// the role trusts its bearer. Nobody signs this request: the token is the proof.
func (s *sts) assumeRoleWithWebIdentity(ctx context.Context, at awsEndpoint, form url.Values) (any, error) {
	arn, name, token := form.Get("RoleArn"), form.Get("RoleSessionName"), form.Get("WebIdentityToken")
	parsed, ok := parseRoleARN(arn)
	if !ok || parsed.partition != at.partition.name {
		return nil, validationError("Request ARN is invalid")
	}
	if err := sessionNameConstraint.check(name); err != nil {
		return nil, err
	}
	if err := checkWebIdentityToken(token); err != nil {
		return nil, err
	}
	duration, err := sessionDuration(form)
	if err != nil {
		return nil, err
	}
	if err := s.iam.checkSTS(parsed.account, at); err != nil {
		return nil, err
	}
	claims, err := s.verifyWebIdentity(ctx, parsed.account, token)
	if err != nil {
		return nil, err
	}
	role, ok := s.iam.assumableBy(claims, arn)
	if !ok {
		return nil, &stsError{http.StatusForbidden, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"}
	}
	if duration > role.trust.MaxDuration {
		return nil, validationError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return newWebIdentityResponse(s.iam.open(role, name, duration), name, claims, role), nil
}

// checkWebIdentityToken checks the length of a token, without repeating it.
func checkWebIdentityToken(token string) error {
	var bound string
	switch {
	case len(token) < 4:
		bound = "greater than or equal to 4"
	case len(token) > maxWebIdentityToken:
		bound = fmt.Sprintf("less than or equal to %d", maxWebIdentityToken)
	default:
		return nil
	}
	return validationError("1 validation error detected: Value at 'webIdentityToken' failed to satisfy constraint: Member must have length " + bound)
}

// verifyWebIdentity returns the claims of a token that an account takes.
func (s *sts) verifyWebIdentity(ctx context.Context, account, token string) (tokenClaims, error) {
	claims, failure := s.issuers.verify(ctx, token)
	if failure != nil {
		claims = failure.claims
	}
	clientIDs, ok := s.iam.clientIDs(account, claims.Issuer)
	if claims.Issuer != "" && !ok {
		return tokenClaims{}, invalidIdentityToken("No OpenIDConnect provider found in your account for " + claims.Issuer)
	}
	if failure != nil {
		return tokenClaims{}, s.webIdentityError(failure)
	}
	if claims.IssuedAt.IsZero() {
		return tokenClaims{}, invalidIdentityToken("Missing a required claim: iat")
	}
	if age := s.clock().Sub(claims.IssuedAt); age > s.iam.maxTokenAge(account) {
		return tokenClaims{}, &stsError{http.StatusBadRequest, "ExpiredTokenException", fmt.Sprintf("Token too old: %d", int(age.Seconds()))}
	}
	if !slices.ContainsFunc(claims.Audience, func(a string) bool { return slices.Contains(clientIDs, a) }) {
		return tokenClaims{}, invalidIdentityToken("Incorrect token audience")
	}
	return claims, nil
}

func invalidIdentityToken(message string) error {
	return &stsError{http.StatusBadRequest, "InvalidIdentityToken", message}
}

// noVerificationKey is what the service says of all trouble with an issuer's keys
// but of an issuer that does not answer.
const noVerificationKey = "Couldn't retrieve verification key from your identity provider,  " +
	"please reference AssumeRoleWithWebIdentity documentation for requirements"

// webIdentityError gives a failed verification the service's code and words.
func (s *sts) webIdentityError(e *tokenError) error {
	if e.silent {
		return &stsError{http.StatusBadRequest, "IDPCommunicationError", "The identity provider could not be reached to verify the incoming identity token."}
	}
	switch e.problem {
	case tokenKeysUnreachable, tokenUnknownKey:
		return invalidIdentityToken(noVerificationKey)
	case tokenExpired:
		return &stsError{http.StatusBadRequest, "ExpiredTokenException", fmt.Sprintf(
			"Token expired: current date/time %d must be before the expiration date/time %d", s.clock().Unix(), e.claims.Expiry.Unix())}
	case tokenNotYetValid:
		return invalidIdentityToken("Token is not valid yet")
	case tokenBadSignature:
		return invalidIdentityToken("Token signature invalid")
	case tokenBadAlgorithm:
		return invalidIdentityToken("Token signature algorithm is not supported")
	default:
		return invalidIdentityToken("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	}
}

// webIdentityResponse is the answer to AssumeRoleWithWebIdentity on the wire.
type webIdentityResponse struct {
	XMLName     xml.Name        `xml:"AssumeRoleWithWebIdentityResponse"`
	Namespace   string          `xml:"xmlns,attr"`
	Subject     string          `xml:"AssumeRoleWithWebIdentityResult>SubjectFromWebIdentityToken"`
	Audience    string          `xml:"AssumeRoleWithWebIdentityResult>Audience"`
	User        *xmlAssumedRole `xml:"AssumeRoleWithWebIdentityResult>AssumedRoleUser"`
	Credentials *xmlCredentials `xml:"AssumeRoleWithWebIdentityResult>Credentials"`
	Provider    string          `xml:"AssumeRoleWithWebIdentityResult>Provider"`
	RequestID   string          `xml:"ResponseMetadata>RequestId"`
}

func newWebIdentityResponse(s awsSession, name string, claims tokenClaims, role awsRole) *webIdentityResponse {
	shared := newAssumeRoleResponse(s, name)
	return &webIdentityResponse{
		Namespace: stsNamespace, Subject: claims.Subject, Audience: claims.Audience[0],
		User: shared.User, Credentials: shared.Credentials, RequestID: shared.RequestID,
		Provider: fmt.Sprintf("arn:%s:iam::%s:oidc-provider/%s", role.arn.partition, role.arn.account, strings.TrimPrefix(claims.Issuer, "https://")),
	}
}
