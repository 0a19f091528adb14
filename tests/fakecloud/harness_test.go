package fakecloud_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

const (
	account = "111122223333"
	other   = "444455556666"
	region  = "eu-central-1"
)

// clock is a cloud's clock that a test moves. It starts at the real time, because
// the AWS SDK signs by that.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

// start runs a cloud for the length of a test.
func start(t *testing.T) (*fakecloud.Cloud, *clock) {
	t.Helper()
	c := &clock{}
	cloud, err := fakecloud.Start(t.Context(), fakecloud.Options{Clock: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Stop)
	return cloud, c
}

func static(key fakecloud.AccessKey) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(key.ID, key.Secret, "")
}

func session(c *ststypes.Credentials) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
}

// heldBodies sends requests whose bodies are in memory: the SDK closes a body as
// soon as an answer begins, and the transport may then lose the rest of it.
type heldBodies struct{ client *http.Client }

// Do sends a request.
func (h heldBodies) Do(request *http.Request) (*http.Response, error) {
	if request.Body != nil {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, err
		}
		request.Body = io.NopCloser(bytes.NewReader(body))
	}
	return h.client.Do(request)
}

// ecrClient is the real SDK, reaching the cloud by its real names, without retries.
func ecrClient(cloud *fakecloud.Cloud, c aws.CredentialsProvider, options ...func(*ecr.Options)) *ecr.Client {
	return ecr.New(ecr.Options{Region: region, Credentials: c, HTTPClient: heldBodies{cloud.HTTPClient()}, Retryer: aws.NopRetryer{}}, options...)
}

func stsClient(cloud *fakecloud.Cloud, c aws.CredentialsProvider, options ...func(*sts.Options)) *sts.Client {
	return sts.New(sts.Options{Region: region, Credentials: c, HTTPClient: heldBodies{cloud.HTTPClient()}, Retryer: aws.NopRetryer{}}, options...)
}

// eager retries as the SDK does by default, but without waiting.
func eager() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
	})
}

// token obtains an ECR token and returns the password in it.
func token(t *testing.T, client *ecr.Client) string {
	t.Helper()
	answer, err := client.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		t.Fatalf("GetAuthorizationToken: %v", err)
	}
	decoded, err := base64.StdEncoding.DecodeString(*answer.AuthorizationData[0].AuthorizationToken)
	if err != nil {
		t.Fatal(err)
	}
	password, ok := strings.CutPrefix(string(decoded), "AWS:")
	if !ok {
		t.Fatal("the token does not hold a login of the user AWS")
	}
	return password
}

// code returns the error code of an AWS error, "" for no error and the error's
// text for any other.
func code(err error) string {
	if err == nil {
		return ""
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return err.Error()
}

func login(userName, password string) authn.Authenticator {
	return &authn.Basic{Username: userName, Password: password}
}

// pull fetches an image, all of its layers included, and says whether it could.
func pull(t *testing.T, cloud *fakecloud.Cloud, ref string, auth authn.Authenticator) error {
	t.Helper()
	parsed, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(parsed, remote.WithContext(t.Context()), remote.WithTransport(cloud.HTTPClient().Transport),
		remote.WithAuth(auth), remote.WithRetryBackoff(remote.Backoff{Steps: 1}))
	if err != nil {
		return err
	}
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		content, err := layer.Compressed()
		if err != nil {
			return err
		}
		if err := content.Close(); err != nil {
			return err
		}
	}
	return nil
}

func push(t *testing.T, cloud *fakecloud.Cloud, ref string) {
	t.Helper()
	if err := cloud.PushImage(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
}
