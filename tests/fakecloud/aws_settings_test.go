package fakecloud_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

func TestSTSCanBeOffInARegionOfAnAccount(t *testing.T) {
	cloud, _, i := webIdentity(t)
	assume := func() error {
		_, err := stsClient(cloud, nil).AssumeRoleWithWebIdentity(t.Context(), withWebIdentity(role, i.token(t, awsAudience)))
		return err
	}
	cloud.DisableSTS(account, region)
	cloud.DisableSTS(other, "eu-west-1")
	if err := assume(); err != nil {
		t.Errorf("another account's and another region's settings: %v", err)
	}
	cloud.DisableSTS(other, region)
	if err := assume(); code(err) != "RegionDisabledException" || !strings.Contains(err.Error(), "STS is not activated in this region for account:"+other) {
		t.Errorf("the error is %v", err)
	}
	cloud.EnableSTS(other, region)
	if err := assume(); err != nil {
		t.Errorf("activated again: %v", err)
	}
}

func TestAnAccountMayWantFreshTokens(t *testing.T) {
	cloud, _, i := webIdentity(t)
	assume := func() error {
		token := lived(-2*time.Minute, time.Hour)(t, i)
		_, err := stsClient(cloud, nil).AssumeRoleWithWebIdentity(t.Context(), withWebIdentity(role, token))
		return err
	}
	cloud.LimitTokenAge(other, time.Minute)
	if err := assume(); code(err) != "ExpiredTokenException" || !strings.Contains(err.Error(), "Token too old: 12") {
		t.Errorf("the error is %v", err)
	}
	cloud.LimitTokenAge(other, 0)
	if err := assume(); err != nil {
		t.Errorf("without a limit: %v", err)
	}
}

func TestECRPublicWantsTheRightToABearerTokenToo(t *testing.T) {
	cloud, _ := start(t)
	key := cloud.AddAccessKey(account, "puller")
	cloud.GrantECRPublic(key.UserARN)
	cloud.RevokeBearerToken(key.UserARN)
	ask := func() error {
		_, err := ecrPublicClient(cloud, static(key)).GetAuthorizationToken(t.Context(), &ecrpublic.GetAuthorizationTokenInput{})
		return err
	}
	if err := ask(); code(err) != "AccessDeniedException" || !strings.Contains(err.Error(), "not authorized to perform: sts:GetServiceBearerToken on resource: *") {
		t.Errorf("the error is %v", err)
	}
	cloud.GrantECRPublic(key.UserARN)
	if err := ask(); err != nil {
		t.Errorf("granted again: %v", err)
	}
}

func TestIAMCredentialsCanBeDisabledInAProject(t *testing.T) {
	cloud, _, i := googleCloud(t)
	cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: puller, WorkloadIdentityUsers: []string{googlePrincipal}})
	federated := federatedToken(t, cloud, i)
	impersonated := func() answer {
		return send(t, cloud, http.MethodPost, "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"+puller+":generateAccessToken",
			strings.NewReader(`{"scope":["`+cloudPlatform+`"]}`), http.Header{"Authorization": {"Bearer " + federated}})
	}
	cloud.DisableIAMCredentials("project")
	impersonated().has(t, http.StatusOK, "accessToken")
	cloud.DisableIAMCredentials("123456789012")
	impersonated().has(t, http.StatusForbidden, `"reason":"SERVICE_DISABLED"`)
	cloud.EnableIAMCredentials("123456789012")
	impersonated().has(t, http.StatusOK, "accessToken")
}
