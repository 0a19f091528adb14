package fakecloud_test

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func TestNoSecretHidesFromTheSearch(t *testing.T) {
	const secret = "kubernetes>>secret??of~~forty+characters"
	search := fakecloud.NewSecrets(secret)
	for sentence, text := range map[string]string{
		"as it is":                    "token: " + secret + ".",
		"cut off":                     "token: " + secret[:39] + "…",
		"without its beginning":       "…" + secret[1:],
		"in a URL":                    "?token=" + url.QueryEscape(secret) + "&x=y",
		"in base64":                   encoded(secret),
		"in base64 behind a user":     encoded("robot:" + secret),
		"in base64 behind a b":        encoded("b:" + secret + "\n"),
		"in base64 behind another bc": encoded("bc:" + secret + "\n\n"),
		"in base64 for URLs":          base64.RawURLEncoding.EncodeToString([]byte("x" + secret)),
	} {
		t.Run(sentence, func(t *testing.T) {
			if len(search.In(text)) == 0 {
				t.Errorf("it is not found in %q", text)
			}
		})
	}
	if found := search.In(strings.ToUpper(secret) + encoded(strings.ToUpper(secret))); len(found) > 0 {
		t.Errorf("%q is no secret", found)
	}
}

func TestACloudsSecretsAreWhatItIssuedAndWasShown(t *testing.T) {
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	key := cloud.AddAccessKey(account, "puller")
	cloud.GrantECR(key.UserARN, account)
	shown := i.token(t, "api://AzureADTokenExchange")
	signInAzure(t, cloud, "login.microsoftonline.com", shown)
	issued := token(t, ecrClient(cloud, static(key)))
	search := cloud.Secrets()
	for sentence, text := range map[string]string{
		"the secret of an access key":      key.Secret,
		"a token of ECR":                   issued,
		"a token that a service was shown": shown,
	} {
		t.Run(sentence, func(t *testing.T) {
			if len(search.In(text)) == 0 {
				t.Error("it is not searched for")
			}
		})
	}
	if got, want := search.Len(), len(cloud.IssuedTokens())+len(cloud.ShownTokens()); got != want {
		t.Errorf("%d secrets are searched for, want %d", got, want)
	}
	if found := search.In(region + role + key.ID); len(found) > 0 {
		t.Errorf("%q are no secrets", found)
	}
}

func TestASecretThatIsTooShortToBeFoundIsRefused(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it is taken")
		}
	}()
	fakecloud.NewSecrets("nineteen characters")
}
