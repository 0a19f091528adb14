package gar

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	credentials "cloud.google.com/go/iam/credentials/apiv1"
	"cloud.google.com/go/iam/credentials/apiv1/credentialspb"
	"google.golang.org/api/option"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// lifetime is the longest that is granted to everybody.
const lifetime = time.Hour

// anyProject stands for the project in a service account's name; the API takes
// nothing else.
const anyProject = "projects/-/serviceAccounts/"

// impersonate returns a token of the Google service account, asked for as the
// bearer of a token.
func (f fetch) impersonate(ctx context.Context, bearer string) (accessToken, error) {
	c := exchange.Call{Action: "impersonation", Host: f.iamHost()}
	carrier := &carrier{call: c, client: f.client, bearer: bearer}
	client, err := credentials.NewIamCredentialsRESTClient(ctx,
		option.WithHTTPClient(&http.Client{Transport: carrier}),
		option.WithUniverseDomain(f.config.UniverseDomain),
		// The environment could make it log requests and answers whole.
		option.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		failure := c.Errorf(providers.Transient, "Google's client can't be made")
		failure.Cause = err
		return accessToken{}, failure
	}
	defer func() { _ = client.Close() }() // holds nothing: the transport is ours
	// By itself it would repeat what meets 503 or 504 until ctx ends, and then
	// tell of nothing but that.
	client.CallOptions.GenerateAccessToken = nil
	asked := f.now()
	read, err := client.GenerateAccessToken(ctx, f.impersonation())
	if err != nil {
		return accessToken{}, f.notImpersonated(ctx, c, carrier.answer, err)
	}
	return f.readImpersonation(c, carrier.answer, read, asked)
}

func (f fetch) impersonation() *credentialspb.GenerateAccessTokenRequest {
	delegates := make([]string, 0, len(f.config.Delegates))
	for _, email := range f.config.Delegates {
		delegates = append(delegates, anyProject+email)
	}
	return &credentialspb.GenerateAccessTokenRequest{
		Name:      anyProject + f.config.GoogleServiceAccount,
		Delegates: delegates,
		Scope:     []string{scope},
		Lifetime:  durationpb.New(lifetime),
	}
}

// notImpersonated turns an error of Google's client into one that may be
// shown.
func (f fetch) notImpersonated(ctx context.Context, c exchange.Call, answer exchange.Answer, err error) error {
	var failure *providers.Error
	switch {
	case errors.As(err, &failure):
		return failure
	case answer.Status == 0:
		return c.Unanswered(ctx, err)
	case answer.OK():
		return c.Unreadable(answer.Status, answer.Header, err)
	}
	return f.refused(c, answer, f.impersonationVerdicts())
}

// readImpersonation takes the token out of what Google's client read in an
// answer, of which no field need be there.
func (f fetch) readImpersonation(c exchange.Call, answer exchange.Answer, read *credentialspb.GenerateAccessTokenResponse, asked time.Time) (accessToken, error) {
	token := accessToken{value: read.GetAccessToken()}
	if expires := read.GetExpireTime(); expires.CheckValid() == nil {
		token.expiresAt = exchange.LocalExpiry(answer.Header, expires.AsTime(), f.now())
	}
	// Where Google doesn't tell the time, ours may be behind, so that the token
	// would seem to outlive what was asked for.
	if latest := asked.Add(lifetime); token.expiresAt.After(latest) {
		token.expiresAt = latest
	}
	return f.accept(c, answer, token)
}

// carrier is the transport below Google's client. It sends as the bearer of a
// token, keeps all limits of our own exchanges, and remembers the answer.
type carrier struct {
	call   exchange.Call
	client *http.Client
	bearer string
	answer exchange.Answer
}

// RoundTrip implements http.RoundTripper.
func (t *carrier) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("Authorization", "Bearer "+t.bearer)
	answer, err := t.call.Do(t.client, request)
	if err != nil {
		return nil, err
	}
	t.answer = answer
	return &http.Response{
		StatusCode: answer.Status,
		Header:     answer.Header,
		Body:       io.NopCloser(bytes.NewReader(answer.Body)),
		Request:    request,
	}, nil
}
