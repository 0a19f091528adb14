package exchange

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"
)

// Claims are what a JWT says about itself. Nothing is verified: they are read
// from tokens that came from the one who issued them, and only to know when
// they end and by whose clock they began (RFC 7519, section 4.1).
type Claims struct {
	// IssuedAt and ExpiresAt are zero if the token doesn't say.
	IssuedAt, ExpiresAt time.Time
	Issuer, Subject     string
}

// ParseClaims reads a JWT's claims. Errors don't quote the token.
func ParseClaims(token string) (Claims, error) {
	parts := strings.SplitN(token, ".", 4)
	if len(parts) != 3 {
		return Claims{}, errors.New("it is not a JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return Claims{}, errors.New("it is a JWT whose claims are not base64")
	}
	var raw struct {
		IssuedAt  float64 `json:"iat"`
		ExpiresAt float64 `json:"exp"`
		Issuer    string  `json:"iss"`
		Subject   string  `json:"sub"`
	}
	if json.Unmarshal(payload, &raw) != nil {
		return Claims{}, errors.New("it is a JWT whose claims are not the JSON that was expected")
	}
	return Claims{
		IssuedAt: fromNumericDate(raw.IssuedAt), ExpiresAt: fromNumericDate(raw.ExpiresAt),
		Issuer: raw.Issuer, Subject: raw.Subject,
	}, nil
}

// LatestDate is the end of the year 9999 in Unix seconds: no later time can be
// written as JSON.
const LatestDate = 253402300799

// fromNumericDate returns the time of a NumericDate; zero if it is none.
func fromNumericDate(seconds float64) time.Time {
	if math.IsNaN(seconds) || seconds <= 0 || seconds > LatestDate {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}
