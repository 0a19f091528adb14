package fakecloud_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// exchangeACR asks a registry for a refresh token.
func exchangeACR(t *testing.T, cloud *fakecloud.Cloud, host, access string, changes ...string) answer {
	t.Helper()
	return sendForm(t, cloud, "https://"+host+"/oauth2/exchange?api-version=2021-07-01", url.Values{
		"grant_type": {"access_token"}, "service": {host}, "access_token": {access},
	}, changes...)
}

func acrPassword(a answer) string { return a.field("refresh_token") }

// federatedACR is the second half of Azure, with the faults of its own.
func federatedACR(t *testing.T, cloud *fakecloud.Cloud, i *issuer) federated {
	t.Helper()
	f := federatedAzureAD(t, cloud, i)
	f.service = fakecloud.ACR
	f.faults = map[fakecloud.FaultKind]refusal{
		fakecloud.Throttle:    {http.StatusTooManyRequests, `{"errors":[{"code":"TOOMANYREQUESTS",`},
		fakecloud.ServerError: {http.StatusInternalServerError, `{"errors":[{"code":"UNKNOWN",`},
		fakecloud.Denied:      {http.StatusForbidden, `{"errors":[{"code":"DENIED",`},
	}
	return f
}

func TestACRExchangesOnlyTokensOfItsCloudForWhoMayPull(t *testing.T) {
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	f := federatedAzureAD(t, cloud, i)
	cloud.GrantACR("example.azurecr.cn", azureClient)
	const host = "example.azurecr.io"
	access := signInAzure(t, cloud, "login.microsoftonline.com", i.token(t, f.audience)).field("access_token")
	const unauthorized = `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required, visit https://aka.ms/acr/authorization`

	tests := map[string]struct {
		got  answer
		want int
		part string
	}{
		"all is well":                        {exchangeACR(t, cloud, host, access), 200, `{"refresh_token":"ey`},
		"the tenant may be named":            {exchangeACR(t, cloud, host, access, "tenant", azureTenant), 200, ""},
		"but only the right one":             {exchangeACR(t, cloud, host, access, "tenant", azureClient), 401, unauthorized},
		"the token of a cluster is no token": {exchangeACR(t, cloud, host, i.token(t, f.audience)), 401, unauthorized},
		"who may not pull gets nothing":      {exchangeACR(t, cloud, "other.azurecr.io", access), 401, unauthorized},
		"a registry is of one cloud":         {exchangeACR(t, cloud, "example.azurecr.cn", access), 401, unauthorized},
		"the service is the registry":        {exchangeACR(t, cloud, host, access, "service", "other.azurecr.io"), 400, `"code":"BAD_REQUEST"`},
		"the grant type is its own":          {exchangeACR(t, cloud, host, access, "grant_type", "password"), 400, `"code":"BAD_REQUEST"`},
		"the wrong verb is not found":        {send(t, cloud, http.MethodGet, "https://"+host+"/oauth2/exchange", http.NoBody, nil), 404, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { tt.got.has(t, tt.want, tt.part) })
	}
	clock.advance(time.Hour)
	exchangeACR(t, cloud, host, access).has(t, http.StatusUnauthorized, unauthorized)
}

func TestARefreshTokenOfACRSaysWhenItExpires(t *testing.T) {
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	f := federatedACR(t, cloud, i)
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(acrPassword(f.exchange(t, i.token(t, f.audience))), ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Expiry int64 `json:"exp"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	if left := time.Unix(claims.Expiry, 0).Sub(clock.Now()); left > 3*time.Hour || left < 3*time.Hour-time.Minute {
		t.Errorf("it expires in %s, want three hours", left)
	}
}

func TestAzureIsTheSameInItsSovereignClouds(t *testing.T) {
	tests := map[string]struct{ authority, used, audience, host string }{
		"China":                     {"login.partner.microsoftonline.cn", "login.partner.microsoftonline.cn", "api://AzureADTokenExchangeChina", "example.azurecr.cn"},
		"China, by its other name":  {"login.partner.microsoftonline.cn", "login.chinacloudapi.cn", "api://AzureADTokenExchangeChina", "example.azurecr.cn"},
		"the government of the USA": {"login.microsoftonline.us", "login.microsoftonline.us", "api://AzureADTokenExchangeUSGov", "example.azurecr.us"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cloud, clock := start(t)
			i := newIssuer(t, cloud, clock)
			cloud.AddAzureApplication(fakecloud.AzureApplication{
				Authority: tt.authority, TenantID: azureTenant, ClientID: azureClient, Issuer: i.URL, Subject: subject,
			})
			cloud.GrantACR(tt.host, azureClient)
			push(t, cloud, tt.host+"/app:v1")
			signInAzure(t, cloud, tt.used, i.token(t, "api://AzureADTokenExchange")).has(t, http.StatusUnauthorized, "AADSTS700212: ")
			access := signInAzure(t, cloud, tt.used, i.token(t, tt.audience)).field("access_token")
			password := acrPassword(exchangeACR(t, cloud, tt.host, access))
			if got := status(t, pull(t, cloud, tt.host+"/app:v1", login("00000000-0000-0000-0000-000000000000", password))); got != http.StatusOK {
				t.Errorf("the login pulls with status %d", got)
			}
		})
	}
}

func TestHostsThatOnlyLookLikeACRAreNotOfTheCloud(t *testing.T) {
	cloud, _ := start(t)
	for _, host := range []string{"example.azurecr.io.evil.example", "azurecr.io", "a.b.azurecr.io", "example.azurecr.com"} {
		if response, err := cloud.HTTPClient().Get("https://" + host + "/v2/"); err == nil {
			t.Errorf("%s answers %s", host, response.Status)
			_ = response.Body.Close()
		}
	}
	if got := cloud.UnknownHosts(); len(got) != 4 {
		t.Errorf("the unknown hosts are %v", got)
	}
}
