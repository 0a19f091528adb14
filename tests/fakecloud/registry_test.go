package fakecloud_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

const (
	image      = account + ".dkr.ecr.eu-central-1.amazonaws.com/team/app:v1"
	otherImage = other + ".dkr.ecr.eu-central-1.amazonaws.com/team/app:v1"
)

// status returns the HTTP status of a refused pull, 200 for one that went well.
func status(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return http.StatusOK
	}
	refused, ok := errors.AsType[*transport.Error](err)
	if !ok {
		t.Fatalf("the pull failed otherwise than by an answer: %v", err)
	}
	return refused.StatusCode
}

func TestARegistryServesOnlyForATokenThatOpensIt(t *testing.T) {
	cloud, clock := start(t)
	key := cloud.AddAccessKey(account, "puller")
	cloud.GrantECR(key.UserARN, account)
	stranger := cloud.AddAccessKey(other, "stranger")
	cloud.GrantECR(stranger.UserARN, other)
	revoked := cloud.AddAccessKey(account, "revoked")
	cloud.GrantECR(revoked.UserARN, account)

	cloud.SetTokenLifetime(time.Minute)
	expired := token(t, ecrClient(cloud, static(key)))
	clock.advance(time.Minute)
	cloud.SetTokenLifetime(12 * time.Hour)
	good := token(t, ecrClient(cloud, static(key)))
	foreign := token(t, ecrClient(cloud, static(stranger)))
	withdrawn := token(t, ecrClient(cloud, static(revoked)))
	cloud.RevokeECR(revoked.UserARN)
	push(t, cloud, image)
	push(t, cloud, otherImage)
	push(t, cloud, account+".dkr.ecr.us-east-1.amazonaws.com/team/app:v1")

	tests := map[string]struct {
		ref  string
		auth authn.Authenticator
		want int
	}{
		"a token opens the registry of its region and account": {image, login("AWS", good), 200},
		"it opens the FIPS name of the same registry":          {account + ".dkr.ecr-fips.eu-central-1.amazonaws.com/team/app:v1", login("AWS", good), 200},
		"it opens the dual-stack name of the same registry":    {account + ".dkr-ecr.eu-central-1.on.aws/team/app:v1", login("AWS", good), 200},
		"it opens the dual-stack FIPS name as well":            {account + ".dkr-ecr-fips.eu-central-1.on.aws/team/app:v1", login("AWS", good), 200},
		"an image that is not there is not found":              {account + ".dkr.ecr.eu-central-1.amazonaws.com/team/absent:v1", login("AWS", good), 404},
		"nobody is served without a login":                     {image, authn.Anonymous, 401},
		"a made-up password is refused":                        {image, login("AWS", "made-up"), 401},
		"another user name is refused":                         {image, login("aws", good), 401},
		"a token is refused in another region":                 {account + ".dkr.ecr.us-east-1.amazonaws.com/team/app:v1", login("AWS", good), 401},
		"a token is refused by an account without a grant":     {otherImage, login("AWS", good), 401},
		"the token of another account is refused":              {image, login("AWS", foreign), 401},
		"and opens its own":                                    {otherImage, login("AWS", foreign), 200},
		"an expired token is refused":                          {image, login("AWS", expired), 401},
		"a token whose holder lost its grant is refused":       {image, login("AWS", withdrawn), 401},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := status(t, pull(t, cloud, tt.ref, tt.auth)); got != tt.want {
				t.Errorf("status %d, want %d", got, tt.want)
			}
		})
	}
}

func TestATokenStopsToOpenWhenItExpires(t *testing.T) {
	cloud, clock := start(t)
	key := cloud.AddAccessKey(account, "puller")
	cloud.GrantECR(key.UserARN, account)
	push(t, cloud, image)
	auth := login("AWS", token(t, ecrClient(cloud, static(key))))
	clock.advance(12*time.Hour - time.Minute)
	if err := pull(t, cloud, image, auth); err != nil {
		t.Errorf("before it expires: %v", err)
	}
	clock.advance(time.Minute)
	if got := status(t, pull(t, cloud, image, auth)); got != http.StatusUnauthorized {
		t.Errorf("after it expired: status %d, want 401", got)
	}
}

func TestAnECRRegistryChallengesAsTheRealOne(t *testing.T) {
	cloud, _ := start(t)
	response, err := cloud.HTTPClient().Get("https://" + account + ".dkr.ecr.eu-central-1.amazonaws.com/v2/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d, want 401", response.StatusCode)
	}
	want := `Basic realm="https://111122223333.dkr.ecr.eu-central-1.amazonaws.com/",service="ecr.amazonaws.com"`
	if got := response.Header.Get("WWW-Authenticate"); got != want {
		t.Errorf("challenge is %s, want %s", got, want)
	}
}

func TestAStaticRegistryHonoursItsLogins(t *testing.T) {
	cloud, _ := start(t)
	cloud.AddStaticLogin("registry.example.com", "robot", "s3cret")
	cloud.AddStaticLogin("registry.example.com", "second", "other")
	cloud.AddStaticLogin("example.org:5000", "robot", "elsewhere")
	push(t, cloud, "registry.example.com/app:v1")
	push(t, cloud, "example.org:5000/app:v1")

	tests := map[string]struct {
		ref  string
		auth authn.Authenticator
		want int
	}{
		"its login opens it":                     {"registry.example.com/app:v1", login("robot", "s3cret"), 200},
		"so does a second login":                 {"registry.example.com/app:v1", login("second", "other"), 200},
		"a host with a port is a host of itself": {"example.org:5000/app:v1", login("robot", "elsewhere"), 200},
		"a wrong password does not":              {"registry.example.com/app:v1", login("robot", "other"), 401},
		"the login of another host does not":     {"example.org:5000/app:v1", login("robot", "s3cret"), 401},
		"nobody comes in without one":            {"registry.example.com/app:v1", authn.Anonymous, 401},
		"an unknown user does not":               {"registry.example.com/app:v1", login("nobody", ""), 401},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := status(t, pull(t, cloud, tt.ref, tt.auth)); got != tt.want {
				t.Errorf("status %d, want %d", got, tt.want)
			}
		})
	}
}

func TestPushImageNeedsARegistryOfTheCloud(t *testing.T) {
	cloud, _ := start(t)
	for _, ref := range []string{"registry.example.com/app:v1", "sts.amazonaws.com/app:v1", "not a reference"} {
		if err := cloud.PushImage(t.Context(), ref); err == nil {
			t.Errorf("an image was pushed to %q", ref)
		}
	}
	if got := cloud.Calls(fakecloud.Registry); got != 0 {
		t.Errorf("pushing made %d calls", got)
	}
}
