package fakecloud_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

const publicImage = "public.ecr.aws/alias/app:v1"

func ecrPublicClient(cloud *fakecloud.Cloud, c aws.CredentialsProvider, options ...func(*ecrpublic.Options)) *ecrpublic.Client {
	return ecrpublic.New(ecrpublic.Options{
		Region: "us-east-1", Credentials: c, HTTPClient: heldBodies{cloud.HTTPClient()}, Retryer: aws.NopRetryer{},
	}, options...)
}

// publicToken obtains a token of ECR Public: its password and its expiry.
func publicToken(t *testing.T, client *ecrpublic.Client) (string, time.Time) {
	t.Helper()
	answer, err := client.GetAuthorizationToken(t.Context(), &ecrpublic.GetAuthorizationTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := base64.StdEncoding.DecodeString(*answer.AuthorizationData.AuthorizationToken)
	if err != nil {
		t.Fatal(err)
	}
	password, ok := strings.CutPrefix(string(decoded), "AWS:")
	if !ok {
		t.Fatal("the token does not hold a login of the user AWS")
	}
	return password, *answer.AuthorizationData.ExpiresAt
}

func TestECRPublicServesOnlyForItsOwnTokens(t *testing.T) {
	cloud, clock := start(t)
	key := cloud.AddAccessKey(account, "puller")
	cloud.GrantECR(key.UserARN, account)
	cloud.GrantECRPublic(key.UserARN)
	push(t, cloud, publicImage)
	push(t, cloud, image)
	password, expires := publicToken(t, ecrPublicClient(cloud, static(key)))
	if left := expires.Sub(clock.Now()).Round(time.Minute); left != 12*time.Hour {
		t.Errorf("the token lasts %s, want 12h", left)
	}
	private := token(t, ecrClient(cloud, static(key)))
	tests := map[string]struct {
		ref  string
		auth authn.Authenticator
		want int
	}{
		"its token opens it":                      {publicImage, login("AWS", password), 200},
		"under its other name as well":            {"ecr-public.aws.com/alias/app:v1", login("AWS", password), 200},
		"a token of ECR does not":                 {publicImage, login("AWS", private), 401},
		"its token does not open ECR":             {image, login("AWS", password), 401},
		"another user name is refused":            {publicImage, login("aws", password), 401},
		"nobody is served without a login":        {publicImage, authn.Anonymous, 401},
		"an image that is not there is not found": {"public.ecr.aws/alias/absent:v1", login("AWS", password), 404},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := status(t, pull(t, cloud, tt.ref, tt.auth)); got != tt.want {
				t.Errorf("status %d, want %d", got, tt.want)
			}
		})
	}
	withdrawn := cloud.AddAccessKey(account, "withdrawn")
	cloud.GrantECRPublic(withdrawn.UserARN)
	lost, _ := publicToken(t, ecrPublicClient(cloud, static(withdrawn)))
	cloud.RevokeECR(withdrawn.UserARN)
	if got := status(t, pull(t, cloud, publicImage, login("AWS", lost))); got != http.StatusUnauthorized {
		t.Errorf("a token whose holder lost its grant: status %d, want 401", got)
	}
	clock.advance(12 * time.Hour)
	if got := status(t, pull(t, cloud, publicImage, login("AWS", password))); got != http.StatusUnauthorized {
		t.Errorf("after it expired: status %d, want 401", got)
	}
}

func TestECRPublicRefusesByItsOwnErrorCodes(t *testing.T) {
	cloud, _ := start(t)
	granted := cloud.AddAccessKey(account, "granted")
	cloud.GrantECRPublic(granted.UserARN)
	private := cloud.AddAccessKey(account, "private")
	cloud.GrantECR(private.UserARN, account)
	chinese := cloud.AddAccessKeyIn("aws-cn", account, "granted")
	cloud.GrantECRPublic(chinese.UserARN)
	tests := map[string]struct {
		key  fakecloud.AccessKey
		mod  func(*ecrpublic.Options)
		want string
	}{
		"a granted user is served":                 {granted, func(*ecrpublic.Options) {}, ""},
		"under the dual-stack name as well":        {granted, func(o *ecrpublic.Options) { o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled }, ""},
		"a grant on ECR is none here":              {private, func(*ecrpublic.Options) {}, "AccessDeniedException"},
		"a wrong secret does not match":            {fakecloud.AccessKey{ID: granted.ID, Secret: "wrong"}, func(*ecrpublic.Options) {}, "InvalidSignatureException"},
		"a key of another partition is unknown":    {chinese, func(*ecrpublic.Options) {}, "UnrecognizedClientException"},
		"a signature for another region is no use": {granted, regionOnly("eu-central-1"), "InvalidSignatureException"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ecrPublicClient(cloud, static(tt.key), tt.mod).GetAuthorizationToken(t.Context(), &ecrpublic.GetAuthorizationTokenInput{})
			if got := code(err); got != tt.want {
				t.Errorf("error code is %q, want %q (%v)", got, tt.want, err)
			}
			if tt.want == "AccessDeniedException" && !strings.Contains(err.Error(), "ecr-public:GetAuthorizationToken") {
				t.Errorf("%v does not name the action", err)
			}
		})
	}
}

// regionOnly signs for another region than the one that is asked.
func regionOnly(region string) func(*ecrpublic.Options) {
	return func(o *ecrpublic.Options) {
		o.Region, o.BaseEndpoint = region, aws.String("https://api.ecr-public.us-east-1.amazonaws.com")
	}
}

func TestFaultsOfECRPublic(t *testing.T) {
	tests := map[fakecloud.FaultKind]string{
		fakecloud.Throttle:    "ThrottlingException",
		fakecloud.ServerError: "ServerException",
		fakecloud.Denied:      "AccessDeniedException",
		fakecloud.Empty:       "",
		fakecloud.HTML:        "deserialization failed",
		fakecloud.BadGateway:  "StatusCode: 502",
		fakecloud.Truncate:    "unexpected EOF",
		fakecloud.Oversize:    "deserialization failed",
		fakecloud.Redirect:    "UnknownError",
	}
	cloud, _ := start(t)
	key := cloud.AddAccessKey(account, "puller")
	cloud.GrantECRPublic(key.UserARN)
	for kind, want := range tests {
		t.Run(string(kind), func(t *testing.T) {
			cloud.Fail(fakecloud.ECRPublic, fakecloud.Fault{Kind: kind, Count: 1})
			answer, err := ecrPublicClient(cloud, static(key)).GetAuthorizationToken(t.Context(), &ecrpublic.GetAuthorizationTokenInput{})
			if got := code(err); got != want && (want == "" || !strings.Contains(err.Error(), want)) {
				t.Errorf("error %q, want %q", got, want)
			}
			if err == nil && answer.AuthorizationData != nil {
				t.Error("there is a token")
			}
		})
	}
}

func TestARegistryWithTokensAsksForThem(t *testing.T) {
	cloud, _ := start(t)
	response, err := cloud.HTTPClient().Get("https://public.ecr.aws/v2/alias/app/manifests/v1")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	want := `Bearer realm="https://public.ecr.aws/token/",service="public.ecr.aws",scope="repository:alias/app:pull"`
	if got := response.Header.Get("WWW-Authenticate"); response.StatusCode != http.StatusUnauthorized || got != want {
		t.Errorf("status %d with challenge %s, want 401 with %s", response.StatusCode, got, want)
	}
}
