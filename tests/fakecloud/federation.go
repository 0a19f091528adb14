package fakecloud

import "slices"

// federation is whose tokens a service takes for one of its identities.
type federation struct {
	issuer   string
	audience string // empty: any, which some services allow
	subject  string
}

// trusts says whether verified claims are those that f asks for, to the letter.
func (f federation) trusts(claims tokenClaims) bool {
	return f.issuer == claims.Issuer && f.subject == claims.Subject && f.addressed(claims)
}

// addressed says whether a token was meant for this service.
func (f federation) addressed(claims tokenClaims) bool {
	return f.audience == "" || slices.Contains(claims.Audience, f.audience)
}
