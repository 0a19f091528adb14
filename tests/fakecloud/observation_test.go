package fakecloud_test

import (
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

func TestRequestsAreCountedByHostButForPulls(t *testing.T) {
	const image = account + ".dkr.ecr.eu-central-1.amazonaws.com/app:v1"
	cloud, _ := start(t)
	key := cloud.AddAccessKey(account, "puller")
	cloud.GrantECR(key.UserARN, account)
	push(t, cloud, image)
	gov := cloud.AddAccessKeyIn("aws-us-gov", account, "puller")
	cloud.GrantECR(gov.UserARN, account)
	for range 2 {
		if err := pull(t, cloud, image, login("AWS", token(t, ecrClient(cloud, static(key))))); err != nil {
			t.Fatal(err)
		}
	}
	token(t, ecrClient(cloud, static(gov), func(o *ecr.Options) { o.Region = "us-gov-west-1" }))
	before := cloud.CallsByHost()
	exchangeACR(t, cloud, "example.azurecr.io", "none").has(t, http.StatusUnauthorized, "UNAUTHORIZED")
	if response, err := cloud.HTTPClient().Get("https://example.com/"); err == nil {
		_ = response.Body.Close()
		t.Fatal("a host that no service owns answers")
	}

	want := map[string]int{"api.ecr.eu-central-1.amazonaws.com": 2, "api.ecr.us-gov-west-1.amazonaws.com": 1}
	if diff := cmp.Diff(want, before); diff != "" {
		t.Errorf("calls of the hosts of AWS (-want +got):\n%s", diff)
	}
	want["example.azurecr.io"], want["example.com"] = 1, 1
	if diff := cmp.Diff(want, cloud.CallsByHost()); diff != "" {
		t.Errorf("calls of all hosts (-want +got):\n%s", diff)
	}
	if got := cloud.Calls(fakecloud.Registry); got == 0 {
		t.Error("no pull reached a registry")
	}
}
