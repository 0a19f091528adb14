package fakecloud_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// TestSignaturesCoverTheRequest sends what no SDK sends.
func TestSignaturesCoverTheRequest(t *testing.T) {
	cloud, _ := start(t)
	key := cloud.AddAccessKey(account, "puller")
	cloud.GrantECR(key.UserARN, account)

	tests := map[string]struct {
		region, service string
		tamper          func(*http.Request)
		want            string // the error's type; empty for success
	}{
		"an honest request is served":           {region, "ecr", func(*http.Request) {}, ""},
		"a signature for another region fails":  {"us-east-1", "ecr", func(*http.Request) {}, "InvalidSignatureException"},
		"a signature for another service fails": {region, "sts", func(*http.Request) {}, "InvalidSignatureException"},
		"no signature fails":                    {region, "ecr", func(r *http.Request) { r.Header.Del("Authorization") }, "MissingAuthenticationTokenException"},
		"a signature without a date fails":      {region, "ecr", func(r *http.Request) { r.Header.Del("X-Amz-Date") }, "IncompleteSignatureException"},
		"another scheme fails":                  {region, "ecr", func(r *http.Request) { r.SetBasicAuth("a", "b") }, "IncompleteSignatureException"},
		"a changed path fails":                  {region, "ecr", func(r *http.Request) { r.URL.Path = "/other" }, "InvalidSignatureException"},
		"a changed query fails":                 {region, "ecr", func(r *http.Request) { r.URL.RawQuery = "a=b" }, "InvalidSignatureException"},
		"a changed covered header fails":        {region, "ecr", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, "InvalidSignatureException"},
		"an uncovered AWS header fails":         {region, "ecr", func(r *http.Request) { r.Header.Set("X-Amz-Extra", "1") }, "InvalidSignatureException"},
		"an uncovered other header is served":   {region, "ecr", func(r *http.Request) { r.Header.Set("Via", "somewhere") }, ""},
		"a changed body fails":                  {region, "ecr", func(r *http.Request) { setBody(r, `{ }`) }, "InvalidSignatureException"},
		"a signature cut off fails": {region, "ecr", func(r *http.Request) {
			r.Header.Set("Authorization", strings.TrimRight(r.Header.Get("Authorization"), "0123456789abcdef"))
		}, "IncompleteSignatureException"},
		"another operation is unknown": {region, "ecr", func(r *http.Request) {
			r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.DeleteRepository")
		}, "UnknownOperationException"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := signedECRRequest(t, key, tt.service, tt.region)
			tt.tamper(r)
			response, err := cloud.HTTPClient().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			var answer struct {
				Type string `json:"__type"`
			}
			if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
				t.Fatal(err)
			}
			if answer.Type != tt.want {
				t.Errorf("the error is %q, want %q", answer.Type, tt.want)
			}
			if response.Header.Get("X-Amzn-Requestid") == "" {
				t.Error("there is no request ID")
			}
		})
	}
}

// signedECRRequest asks for a token, signed for a service and a region.
func signedECRRequest(t *testing.T, key fakecloud.AccessKey, service, region string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.ecr.eu-central-1.amazonaws.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	setBody(r, `{}`)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken")
	hash := sha256.Sum256([]byte(`{}`))
	credentials := aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret}
	if err := v4.NewSigner().SignHTTP(t.Context(), credentials, r, hex.EncodeToString(hash[:]), service, region, time.Now()); err != nil {
		t.Fatal(err)
	}
	return r
}

func setBody(r *http.Request, body string) {
	again, _ := http.NewRequest(r.Method, r.URL.String(), strings.NewReader(body))
	r.Body, r.ContentLength, r.GetBody = again.Body, again.ContentLength, again.GetBody
}
