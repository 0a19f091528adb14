package fakecloud_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

func TestALoginIsExchangedForAShortTokenOfItsRegistry(t *testing.T) {
	const realm = "https://" + googleHost + "/v2/token"
	const ping = "https://" + googleHost + "/v2/"
	cloud, clock, i := googleCloud(t)
	cloud.GrantArtifactRegistry(googleHost, googlePrincipal)
	cloud.GrantArtifactRegistry("gcr.io", googlePrincipal)
	password := federatedToken(t, cloud, i)
	form := url.Values{"grant_type": {"password"}, "username": {"oauth2accesstoken"}, "password": {password}, "client_id": {"containerd-client"}}
	status := func(address, token string) int {
		t.Helper()
		return send(t, cloud, http.MethodGet, address, nil, http.Header{"Authorization": {"Bearer " + token}}).status
	}

	got := send(t, cloud, http.MethodGet, realm+"?service="+googleHost, nil, basic("oauth2accesstoken", password))
	got.has(t, http.StatusOK, `"expires_in":300`)
	posted := sendForm(t, cloud, realm, form)
	posted.has(t, http.StatusOK, "access_token")
	for how, token := range map[string]string{"GET": got.field("token"), "POST": posted.field("access_token")} {
		if got := status(ping, token); got != http.StatusOK {
			t.Errorf("the token by %s: status %d, want 200", how, got)
		}
		if got := status("https://gcr.io/v2/", token); got != http.StatusUnauthorized {
			t.Errorf("the token by %s at another registry: status %d, want 401", how, got)
		}
	}
	if got := send(t, cloud, http.MethodGet, ping, nil, basic("oauth2accesstoken", password)).status; got != http.StatusOK {
		t.Errorf("the login itself: status %d, want 200", got)
	}
	if got := status(ping, password); got != http.StatusUnauthorized {
		t.Errorf("the password as a bearer token: status %d, want 401", got)
	}
	clock.advance(5 * time.Minute)
	if got := status(ping, got.field("token")); got != http.StatusUnauthorized {
		t.Errorf("after five minutes: status %d, want 401", got)
	}

	send(t, cloud, http.MethodGet, realm, nil, nil).has(t, http.StatusUnauthorized, "UNAUTHORIZED")
	send(t, cloud, http.MethodGet, realm, nil, basic("oauth2accesstoken", "made-up")).has(t, http.StatusUnauthorized, "UNAUTHORIZED")
	send(t, cloud, http.MethodPut, realm, nil, nil).has(t, http.StatusMethodNotAllowed, "UNSUPPORTED")
	sendForm(t, cloud, realm, form, "password", "made-up").has(t, http.StatusUnauthorized, "UNAUTHORIZED")
	sendForm(t, cloud, realm, form, "grant_type", "refresh_token").has(t, http.StatusBadRequest, "unsupported_grant_type")
}

func TestATokenOfARegistryDiesWithItsLogin(t *testing.T) {
	cloud, clock, i := googleCloud(t)
	cloud.GrantArtifactRegistry(googleHost, googlePrincipal)
	password := federatedToken(t, cloud, i)
	clock.advance(time.Hour - time.Minute)
	token := send(t, cloud, http.MethodGet, "https://"+googleHost+"/v2/token", nil, basic("oauth2accesstoken", password)).field("token")
	clock.advance(time.Minute)
	got := send(t, cloud, http.MethodGet, "https://"+googleHost+"/v2/", nil, http.Header{"Authorization": {"Bearer " + token}})
	if token == "" || got.status != http.StatusUnauthorized {
		t.Errorf("status %d after the login has expired, want 401", got.status)
	}
}

func TestARegistryThatAsksForLoginsHasNoTokens(t *testing.T) {
	cloud, _ := start(t)
	key := cloud.AddAccessKey(account, "puller")
	cloud.GrantECR(key.UserARN, account)
	header := basic("AWS", token(t, ecrClient(cloud, static(key))))
	send(t, cloud, http.MethodGet, "https://"+account+".dkr.ecr.eu-central-1.amazonaws.com/", nil, header).has(t, http.StatusNotFound, "")
}

func TestATokenEndpointSuffersTheFaultsOfItsRegistry(t *testing.T) {
	cloud, _ := start(t)
	cloud.Fail(fakecloud.Registry, fakecloud.Fault{Kind: fakecloud.Throttle, Count: 1})
	send(t, cloud, http.MethodGet, "https://"+googleHost+"/v2/token", nil, nil).has(t, http.StatusTooManyRequests, "TOOMANYREQUESTS")
}
