package exchange_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/internal/exchange/exchangetest"
	"github.com/imagepullsecrets/operator/providers"
)

var now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func TestCheckToken(t *testing.T) {
	for name, test := range map[string]struct{ token, want string }{
		"a token":           {token: "planted.a-b_c~d+e/f=:"},
		"a long one":        {token: strings.Repeat("x", 64<<10)},
		"none":              {"", "the answer holds no token"},
		"a longer one":      {strings.Repeat("x", 64<<10+1), "longer than 65536 bytes"},
		"a line break":      {"planted\n", "characters that no token has"},
		"a space":           {"planted planted", "characters that no token has"},
		"another alphabet":  {"planté", "characters that no token has"},
		"a replaced letter": {"planted\ufffd", "characters that no token has"},
	} {
		t.Run(name, func(t *testing.T) {
			err := call.CheckToken(test.token)
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			exchangetest.CheckError(t, err, providers.Transient, []string{"token exchange at sts.example: ", test.want}, []string{"plant"})
		})
	}
}

func dated(at time.Time) exchange.Answer {
	return exchange.Answer{Status: 200, Header: http.Header{"Date": {at.Format(http.TimeFormat)}}}
}

func TestCheckExpiry(t *testing.T) {
	for name, test := range map[string]struct {
		answer    exchange.Answer
		expiresAt time.Time
		class     providers.Class
		want      string
	}{
		"one to come":           {answer: dated(now), expiresAt: now.Add(time.Second)},
		"none":                  {dated(now), time.Time{}, providers.Transient, "does not say when its token expires"},
		"a past one":            {dated(now), now.Add(-time.Second), providers.Transient, "expired at 2030-01-02T03:04:04Z already"},
		"this moment":           {dated(now), now, providers.Transient, "expired at 2030-01-02T03:04:05Z already"},
		"without a date":        {exchange.Answer{}, now, providers.Transient, "expired at 2030-01-02T03:04:05Z already"},
		"a past one of a clock": {dated(now.Add(-2 * time.Hour)), now.Add(-time.Hour), providers.ClockSkew, "already; this machine's clock is 2h0m0s ahead of Example's: set it right"},
	} {
		t.Run(name, func(t *testing.T) {
			err := call.CheckExpiry(test.answer, test.expiresAt, now, "Example's")
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			exchangetest.CheckError(t, err, test.class, []string{"token exchange at sts.example: the answer", test.want}, nil)
		})
	}
}

func TestLocalExpiry(t *testing.T) {
	hour := now.Add(time.Hour)
	for name, test := range map[string]struct {
		header           http.Header
		expiresAt, local time.Time
	}{
		"this machine is behind, so that it's earlier here": {dated(now.Add(7 * time.Minute)).Header, now.Add(67 * time.Minute), hour},
		"this machine is ahead, which is no reason to wait": {dated(now.Add(-7 * time.Minute)).Header, now.Add(53 * time.Minute), now.Add(53 * time.Minute)},
		"behind by what is allowed":                         {dated(now.Add(30 * time.Second)).Header, hour, hour},
		"behind by a second more":                           {dated(now.Add(31 * time.Second)).Header, hour, hour.Add(-31 * time.Second)},
		"behind by ages, as without a battery":              {dated(now.AddDate(50, 0, 0)).Header, hour.AddDate(50, 0, 0), hour},
		"the same time":                                     {dated(now).Header, hour, hour},
		"no date":                                           {nil, hour, hour},
		"a date that is none":                               {http.Header{"Date": {"planted"}}, hour, hour},
		"nobody says when it expires":                       {dated(now.Add(7 * time.Minute)).Header, time.Time{}, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := exchange.LocalExpiry(test.header, test.expiresAt, now); !got.Equal(test.local) {
				t.Errorf("got %s, want %s", got, test.local)
			}
		})
	}
}

func TestClusterClock(t *testing.T) {
	token := exchangetest.JWT(map[string]any{"iat": now.Unix()})
	for name, test := range map[string]struct {
		header http.Header
		token  string
		want   string
	}{
		"a fast cluster":   {dated(now.Add(-time.Minute)).Header, token, "this cluster's clock is 1m0s ahead of Example's: set it right"},
		"a slow cluster":   {dated(now.Add(time.Minute)).Header, token, "this cluster's clock is 1m0s behind Example's: set it right"},
		"a right cluster":  {dated(now).Header, token, "set the clocks of the cluster's API servers right"},
		"no time of issue": {dated(now).Header, "opaque", "set the clocks of the cluster's API servers right"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := exchange.ClusterClock(test.header, test.token, "Example's"); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
