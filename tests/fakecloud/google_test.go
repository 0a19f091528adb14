package fakecloud_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	credentials "cloud.google.com/go/iam/credentials/apiv1"
	"cloud.google.com/go/iam/credentials/apiv1/credentialspb"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/googleapis/gax-go/v2/apierror"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google/externalaccount"
	"google.golang.org/api/option"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

const (
	googlePool      = "projects/123456789012/locations/global/workloadIdentityPools/clusters"
	googleProvider  = googlePool + "/providers/this-cluster"
	googleAudience  = "https://iam.googleapis.com/" + googleProvider
	googlePrincipal = "principal://iam.googleapis.com/" + googlePool + "/subject/" + subject
	googleImage     = "europe-west1-docker.pkg.dev/project/team/app:v1"
	googleHost      = "europe-west1-docker.pkg.dev"
	puller          = "puller@project.iam.gserviceaccount.com"
	cloudPlatform   = "https://www.googleapis.com/auth/cloud-platform"
)

// googleCloud runs a cloud with a provider that takes the tokens of an issuer.
func googleCloud(t *testing.T, mod ...func(*fakecloud.WorkloadIdentityProvider)) (*fakecloud.Cloud, *clock, *issuer) {
	t.Helper()
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	provider := fakecloud.WorkloadIdentityProvider{Name: googleProvider, Issuer: i.URL}
	for _, m := range mod {
		m(&provider)
	}
	cloud.AddWorkloadIdentityProvider(provider)
	return cloud, clock, i
}

// googleForm is a request for a token, as the real client sends it.
func googleForm(token string) url.Values {
	return url.Values{
		"grant_type":           {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		"subject_token_type":   {jwtType},
		"subject_token":        {token},
		"audience":             {"//iam.googleapis.com/" + googleProvider},
		"scope":                {cloudPlatform},
	}
}

const googleSTS = "https://sts.googleapis.com/v1/token"

// federatedToken exchanges a token that the provider takes.
func federatedToken(t *testing.T, cloud *fakecloud.Cloud, i *issuer) string {
	t.Helper()
	got := sendForm(t, cloud, googleSTS, googleForm(i.token(t, googleAudience)))
	got.has(t, http.StatusOK, `"token_type":"Bearer"`)
	return got.field("access_token")
}

// heldToken gives the real client the token of a ServiceAccount.
type heldToken string

func (h heldToken) SubjectToken(context.Context, externalaccount.SupplierOptions) (string, error) {
	return string(h), nil
}

func TestTheRealClientOfGoogleSTSIsServed(t *testing.T) {
	cloud, _, i := googleCloud(t)
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, cloud.HTTPClient())
	source, err := externalaccount.NewTokenSource(ctx, externalaccount.Config{
		Audience:         "//iam.googleapis.com/" + googleProvider,
		SubjectTokenType: jwtType, TokenURL: googleSTS, Scopes: []string{cloudPlatform},
		SubjectTokenSupplier: heldToken(i.token(t, googleAudience)),
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := source.Token()
	if err != nil {
		t.Fatal(err)
	}
	if got.AccessToken == "" || got.TokenType != "Bearer" || time.Until(got.Expiry).Round(time.Minute) != time.Hour {
		t.Errorf("the token is of type %q and lasts %s", got.TokenType, time.Until(got.Expiry))
	}
}

func TestGoogleSTSTakesFormsAndJSONInAllItsPlaces(t *testing.T) {
	cloud, _, i := googleCloud(t, func(p *fakecloud.WorkloadIdentityProvider) { p.Audiences = []string{"custom", "https://other"} })
	token := i.token(t, "custom")
	object := url.Values{
		"grantType": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "requestedTokenType": {"urn:ietf:params:oauth:token-type:access_token"},
		"subjectTokenType": {idTokenType}, "subjectToken": {token}, "audience": {"//iam.googleapis.com/" + googleProvider}, "scope": {cloudPlatform},
	}
	sendObject(t, cloud, googleSTS, object).has(t, http.StatusOK, "access_token")
	sendForm(t, cloud, "https://sts.europe-west1.rep.googleapis.com/v1/token", googleForm(token)).has(t, http.StatusOK, "access_token")
	sendObject(t, cloud, googleSTS, object, "subjectToken", "x").has(t, http.StatusBadRequest, "invalid_grant")
	sendForm(t, cloud, googleSTS+"/x", googleForm(token)).has(t, http.StatusNotFound, "NOT_FOUND")
}

func TestGoogleSTSRefusesByItsOwnErrors(t *testing.T) {
	const pool = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/"
	tests := map[string]struct {
		token   func(*testing.T, *issuer) string // nil: a good one
		changes []string                         // of the form
		status  int
		says    string
	}{
		"a good token is exchanged":                      {status: 200, says: "access_token"},
		"the audience may be without its scheme":         {token: forGoogle("aud", "//iam.googleapis.com/"+googleProvider), status: 200, says: "access_token"},
		"a project's ID for its number is invalid":       {changes: []string{"audience", "//iam.googleapis.com/projects/project/locations/global/workloadIdentityPools/clusters/providers/this-cluster"}, status: 400, says: `invalid_request","error_description":"Invalid value for \"audience\"`},
		"an audience without slashes is invalid":         {changes: []string{"audience", googleProvider}, status: 400, says: `Invalid value for \"audience\"`},
		"an audience of another universe is invalid":     {changes: []string{"audience", "//iam.berlin.example/" + googleProvider}, status: 400, says: `Invalid value for \"audience\"`},
		"a provider that is not there is no target":      {changes: []string{"audience", pool + "clusters/providers/other"}, status: 400, says: "invalid_target"},
		"a disabled provider is no target":               {changes: []string{"audience", pool + "disabled/providers/this-cluster"}, status: 400, says: "because the pool or provider is disabled or deleted"},
		"a condition that is false rejects":              {changes: []string{"audience", pool + "conditional/providers/this-cluster"}, token: forGoogle("aud", "conditional"), status: 401, says: "rejected by the attribute condition"},
		"a condition that is true does not":              {changes: []string{"audience", pool + "conditional/providers/this-cluster"}, token: forGoogle("aud", "conditional", "env", "prod"), status: 200, says: "access_token"},
		"a provider may want fresh tokens":               {changes: []string{"audience", pool + "fresh-only/providers/this-cluster"}, token: forGoogle("aud", "fresh", "iat", -61), status: 400, says: "is stale to sign-in"},
		"no grant type is none":                          {changes: []string{"grant_type", ""}, status: 400, says: "unsupported_grant_type"},
		"an ID token is not to be had":                   {changes: []string{"requested_token_type", idTokenType}, status: 400, says: "requested_token_type"},
		"SAML is not taken":                              {changes: []string{"subject_token_type", "urn:ietf:params:oauth:token-type:saml2"}, status: 400, says: "subject_token_type"},
		"a scope is needed":                              {changes: []string{"scope", ""}, status: 400, says: "invalid_scope"},
		"another audience of the token is refused":       {token: forGoogle("aud", "sts.amazonaws.com"), status: 400, says: "invalid_grant\",\"error_description\":\"The audience in ID Token [sts.amazonaws.com]"},
		"another issuer is refused":                      {token: forGoogle("iss", "https://other.example"), status: 400, says: "The issuer in ID Token https://other.example does not match"},
		"an expired token is stale":                      {token: forGoogle("exp", 0), status: 400, says: "is stale to sign-in"},
		"a valid token of more than a day is stale":      {token: forGoogle("iat", -86402, "nbf", nil), status: 400, says: "is stale to sign-in"},
		"a token from the future is refused":             {token: forGoogle("iat", 60), status: 400, says: "not yet valid"},
		"a token without iat is refused":                 {token: forGoogle("iat", nil), status: 400, says: "iat"},
		"what is no token is refused":                    {token: text("nonsense"), status: 400, says: "invalid_grant"},
		"a forged signature is refused":                  {token: forged, status: 400, says: "signature"},
		"a token that is not signed is refused":          {token: unsigned, status: 400, says: "algorithm"},
		"a token by HS256 is refused":                    {token: symmetric, status: 400, says: "algorithm"},
		"a key that the issuer does not publish is none": {token: unpublished, status: 400, says: "signature"},
	}
	cloud, _, i := googleCloud(t)
	add := func(name string, p fakecloud.WorkloadIdentityProvider) {
		p.Name, p.Issuer = strings.TrimPrefix(pool, "//iam.googleapis.com/")+name+"/providers/this-cluster", i.URL
		cloud.AddWorkloadIdentityProvider(p)
	}
	add("disabled", fakecloud.WorkloadIdentityProvider{Disabled: true})
	add("fresh-only", fakecloud.WorkloadIdentityProvider{Audiences: []string{"fresh"}, MaxTokenAge: time.Minute})
	add("conditional", fakecloud.WorkloadIdentityProvider{
		Audiences: []string{"conditional"}, Condition: func(claims map[string]any) bool { return claims["env"] == "prod" },
	})
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			token := i.token(t, googleAudience)
			if tt.token != nil {
				token = tt.token(t, i)
			}
			got := sendForm(t, cloud, googleSTS, googleForm(token), tt.changes...)
			got.has(t, tt.status, tt.says)
			if strings.Contains(got.text, token) {
				t.Error("the answer repeats the token")
			}
		})
	}
	t.Run("a request with an Authorization header is refused", func(t *testing.T) {
		send(t, cloud, http.MethodPost, googleSTS, strings.NewReader(googleForm(i.token(t, googleAudience)).Encode()), http.Header{
			"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {"Bearer x"},
		}).has(t, http.StatusBadRequest, "invalid_request")
	})
	t.Run("an issuer whose keys cannot be read is named as the cause", func(t *testing.T) {
		cloud.AddIssuer(fakecloud.Issuer{URL: i.URL, Server: "http://127.0.0.1:1"})
		sendForm(t, cloud, googleSTS, googleForm(i.token(t, googleAudience))).has(t, http.StatusBadRequest, "Error connecting to the given credential's issuer.")
	})
}

// forGoogle makes a token for the provider with other claims, given as names and
// values; a number is seconds from now, nil leaves the claim out.
func forGoogle(changes ...any) func(*testing.T, *issuer) string {
	return func(t *testing.T, i *issuer) string {
		claims := map[string]any{}
		for at := 0; at < len(changes); at += 2 {
			value := changes[at+1]
			if seconds, ok := value.(int); ok {
				value = i.ago(-time.Duration(seconds) * time.Second)
			}
			claims[changes[at].(string)] = value
		}
		return i.token(t, googleAudience, claims)
	}
}

// iamClient is the real client of IAM Credentials with a token.
func iamClient(t *testing.T, cloud *fakecloud.Cloud, token string, options ...option.ClientOption) *credentials.IamCredentialsClient {
	t.Helper()
	transport := &oauth2.Transport{
		Base: cloud.HTTPClient().Transport, Source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token}),
	}
	client, err := credentials.NewIamCredentialsRESTClient(t.Context(),
		append(options, option.WithHTTPClient(&http.Client{Transport: transport}))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func impersonate(email string, mod ...func(*credentialspb.GenerateAccessTokenRequest)) *credentialspb.GenerateAccessTokenRequest {
	request := &credentialspb.GenerateAccessTokenRequest{Name: "projects/-/serviceAccounts/" + email, Scope: []string{cloudPlatform}}
	for _, m := range mod {
		m(request)
	}
	return request
}

func forSeconds(n int64) func(*credentialspb.GenerateAccessTokenRequest) {
	return func(r *credentialspb.GenerateAccessTokenRequest) { r.Lifetime = &durationpb.Duration{Seconds: n} }
}

func through(emails ...string) func(*credentialspb.GenerateAccessTokenRequest) {
	return func(r *credentialspb.GenerateAccessTokenRequest) {
		for _, email := range emails {
			r.Delegates = append(r.Delegates, "projects/-/serviceAccounts/"+email)
		}
	}
}

func TestIAMCredentialsImpersonatesForThoseThatMay(t *testing.T) {
	const second, third, long, stranger = "second@p.iam.gserviceaccount.com", "third@p.iam.gserviceaccount.com",
		"long@p.iam.gserviceaccount.com", "1234-compute@developer.gserviceaccount.com"
	tests := map[string]struct {
		request *credentialspb.GenerateAccessTokenRequest
		status  int // of the refusal, 0 for none
		says    string
	}{
		"a workload identity user may":                    {request: impersonate(puller)},
		"for less than an hour":                           {request: impersonate(puller, forSeconds(300))},
		"for an hour at most":                             {impersonate(puller, forSeconds(3601)), 400, "cannot exceed 3600 seconds"},
		"for longer where the account allows it":          {request: impersonate(long, forSeconds(43200))},
		"but not for longer than that":                    {impersonate(long, forSeconds(43201)), 400, "cannot exceed 43200 seconds"},
		"a token creator may through another":             {request: impersonate(third, through(second))},
		"not without it":                                  {impersonate(third), 403, "iam.serviceAccounts.getAccessToken"},
		"not through one that the next does not trust":    {impersonate(puller, through(second)), 403, "iam.serviceAccounts.getAccessToken"},
		"not through one that it may not use itself":      {impersonate(third, through(puller)), 403, "iam.serviceAccounts.implicitDelegation"},
		"not an account that does not trust it":           {impersonate(stranger), 403, "denied on resource (or it may not exist)"},
		"an account that is not there is not found":       {impersonate("nobody@p.iam.gserviceaccount.com"), 404, "Gaia id not found"},
		"without a scope there is nothing to be had":      {impersonate(puller, func(r *credentialspb.GenerateAccessTokenRequest) { r.Scope = nil }), 400, "Scope required"},
		"a lifetime that is not positive is invalid":      {impersonate(puller, forSeconds(-1)), 400, "lifetime"},
		"a delegate that is no resource name is an error": {impersonate(puller, func(r *credentialspb.GenerateAccessTokenRequest) { r.Delegates = []string{second} }), 400, "account ID"},
	}
	cloud, clock, i := googleCloud(t)
	cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: puller, WorkloadIdentityUsers: []string{googlePrincipal}})
	cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: second, TokenCreators: []string{googlePrincipal}})
	cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: third, TokenCreators: []string{"serviceAccount:" + second}})
	cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: long, WorkloadIdentityUsers: []string{googlePrincipal}, MaxLifetime: 12 * time.Hour})
	cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: stranger})
	client := iamClient(t, cloud, federatedToken(t, cloud, i))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := client.GenerateAccessToken(t.Context(), tt.request)
			if tt.status != 0 {
				refused, ok := errors.AsType[*apierror.APIError](err)
				if !ok || refused.HTTPCode() != tt.status || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("refused by %v, want status %d and %q", err, tt.status, tt.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := time.Hour
			if tt.request.Lifetime != nil {
				want = tt.request.Lifetime.AsDuration()
			}
			if left := got.ExpireTime.AsTime().Sub(clock.Now()).Round(time.Minute); left != want {
				t.Errorf("the token lasts %s, want %s", left, want)
			}
		})
	}
}

func TestIAMCredentialsKnowsItsCallers(t *testing.T) {
	cloud, clock, i := googleCloud(t)
	cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: puller, WorkloadIdentityUsers: []string{googlePrincipal}})
	good := federatedToken(t, cloud, i)
	narrow := sendForm(t, cloud, googleSTS, googleForm(i.token(t, googleAudience)), "scope", "https://www.googleapis.com/auth/devstorage.read_only").field("access_token")
	refusal := func(token string) (int, string) {
		t.Helper()
		_, err := iamClient(t, cloud, token).GenerateAccessToken(t.Context(), impersonate(puller))
		refused, ok := errors.AsType[*apierror.APIError](err)
		if !ok {
			t.Fatalf("the error is %v", err)
		}
		return refused.HTTPCode(), refused.Reason()
	}
	if status, reason := refusal("made-up"); status != 401 || reason != "ACCESS_TOKEN_TYPE_UNSUPPORTED" {
		t.Errorf("a made-up token: %d %s", status, reason)
	}
	if status, reason := refusal(i.token(t, googleAudience)); status != 401 || reason != "ACCESS_TOKEN_TYPE_UNSUPPORTED" {
		t.Errorf("a token that was not exchanged: %d %s", status, reason)
	}
	if status, reason := refusal(narrow); status != 403 || reason != "ACCESS_TOKEN_SCOPE_INSUFFICIENT" {
		t.Errorf("a token of a scope too narrow: %d %s", status, reason)
	}
	address := "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + puller + ":generateAccessToken"
	send(t, cloud, http.MethodPost, address, strings.NewReader("{}"), nil).has(t, http.StatusUnauthorized, "CREDENTIALS_MISSING")
	send(t, cloud, http.MethodPost, strings.Replace(address, "/-/", "/project/", 1), strings.NewReader("{}"), nil).has(t, http.StatusNotFound, "NOT_FOUND")
	clock.advance(time.Hour)
	if status, reason := refusal(good); status != 401 || reason != "ACCESS_TOKEN_TYPE_UNSUPPORTED" {
		t.Errorf("an expired token: %d %s", status, reason)
	}
}

func TestARegistryOfGoogleServesOnlyWhomItGrants(t *testing.T) {
	cloud, clock, i := googleCloud(t)
	cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: puller, WorkloadIdentityUsers: []string{googlePrincipal}})
	cloud.GrantArtifactRegistry(googleHost, googlePrincipal)
	cloud.GrantArtifactRegistry("us.gcr.io", "serviceAccount:"+puller)
	cloud.GrantArtifactRegistry("docker.universe.example", googlePrincipal)
	const gcr, sovereign, foreign = "us.gcr.io/project/app:v1", "docker.universe.example/project/app:v1", "gcr.io/project/app:v1"
	for _, ref := range []string{googleImage, gcr, sovereign, foreign} {
		push(t, cloud, ref)
	}
	federated := federatedToken(t, cloud, i)
	impersonated, err := iamClient(t, cloud, federated).GenerateAccessToken(t.Context(), impersonate(puller))
	if err != nil {
		t.Fatal(err)
	}
	other := sendForm(t, cloud, googleSTS, googleForm(i.token(t, googleAudience, map[string]any{"sub": subject + "2"}))).field("access_token")
	narrow := sendForm(t, cloud, googleSTS, googleForm(i.token(t, googleAudience)), "scope", "openid").field("access_token")
	user := func(password string) authn.Authenticator { return login("oauth2accesstoken", password) }
	tests := map[string]struct {
		ref  string
		auth authn.Authenticator
		want int
	}{
		"a federated token opens what its principal may":  {googleImage, user(federated), 200},
		"an impersonated one what its account may":        {gcr, user(impersonated.AccessToken), 200},
		"a registry of another universe is one":           {sovereign, user(federated), 200},
		"a federated token does not open the account's":   {gcr, user(federated), 401},
		"an impersonated one does not open the subject's": {googleImage, user(impersonated.AccessToken), 401},
		"a registry without a grant is closed":            {foreign, user(federated), 401},
		"another subject is refused":                      {googleImage, user(other), 401},
		"a token of another scope is refused":             {googleImage, user(narrow), 401},
		"another user name is refused":                    {googleImage, login("_token", federated), 401},
		"the token of the ServiceAccount is refused":      {googleImage, user(i.token(t, googleAudience)), 401},
		"nobody is served without a login":                {googleImage, authn.Anonymous, 401},
		"an image that is not there is not found":         {googleHost + "/project/team/absent:v1", user(federated), 404},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := status(t, pull(t, cloud, tt.ref, tt.auth)); got != tt.want {
				t.Errorf("status %d, want %d", got, tt.want)
			}
		})
	}
	if got := pushes(t, cloud, googleImage, "oauth2accesstoken", federated); got != http.StatusUnauthorized {
		t.Errorf("a push began with status %d, want 401", got)
	}
	clock.advance(time.Hour)
	if got := status(t, pull(t, cloud, googleImage, user(federated))); got != http.StatusUnauthorized {
		t.Errorf("after it expired: status %d, want 401", got)
	}
}

func TestAClusterOfGKEHasAPoolOfItsOwn(t *testing.T) {
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	const cluster = "projects/project-1/locations/europe-west1/clusters/prod"
	cloud.AddGKECluster(cluster, i.URL)
	cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: puller, WorkloadIdentityUsers: []string{"serviceAccount:project-1.svc.id.goog[team/puller]"}})
	audience := "identitynamespace:project-1.svc.id.goog:https://container.googleapis.com/v1/" + cluster
	got := sendForm(t, cloud, googleSTS, googleForm(i.token(t, "project-1.svc.id.goog")), "audience", audience)
	got.has(t, http.StatusOK, "access_token")
	if _, err := iamClient(t, cloud, got.field("access_token")).GenerateAccessToken(t.Context(), impersonate(puller)); err != nil {
		t.Error(err)
	}
	sendForm(t, cloud, googleSTS, googleForm(i.token(t, audience)), "audience", audience).has(t, http.StatusBadRequest, "The audience in ID Token")
	sendForm(t, cloud, googleSTS, googleForm(i.token(t, "project-1.svc.id.goog")), "audience", audience+"2").has(t, http.StatusBadRequest, "invalid_target")
}

func TestAnotherUniverseIsACloudOfItsOwn(t *testing.T) {
	cloud, _, i := googleCloud(t, func(p *fakecloud.WorkloadIdentityProvider) { p.Universe = "universe.example" })
	cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: puller, WorkloadIdentityUsers: []string{googlePrincipal}})
	form := googleForm(i.token(t, googleAudience))
	sendForm(t, cloud, googleSTS, form).has(t, http.StatusBadRequest, "invalid_target")
	token := sendForm(t, cloud, "https://sts.universe.example/v1/token", form).field("access_token")
	if _, err := iamClient(t, cloud, token, option.WithEndpoint("https://iamcredentials.universe.example")).GenerateAccessToken(t.Context(), impersonate(puller)); err != nil {
		t.Error(err)
	}
	if _, err := iamClient(t, cloud, token).GenerateAccessToken(t.Context(), impersonate(puller)); err == nil {
		t.Error("the token is good in the other universe, too")
	}
}

func TestFaultsOfGoogle(t *testing.T) {
	shared := map[fakecloud.FaultKind]refusal{
		fakecloud.HTML:       {http.StatusOK, "<h1>"},
		fakecloud.BadGateway: {http.StatusBadGateway, "<h1>"},
		fakecloud.Redirect:   {http.StatusTemporaryRedirect, ""},
		fakecloud.Truncate:   {http.StatusOK, "(hung up)"},
		fakecloud.Oversize:   {http.StatusOK, strings.Repeat(" ", fakecloud.OversizeBytes)},
		fakecloud.Empty:      {http.StatusOK, "{}"},
	}
	own := map[fakecloud.Service]map[fakecloud.FaultKind]refusal{
		fakecloud.GoogleSTS: {
			fakecloud.Throttle:    {http.StatusTooManyRequests, `{"error":"`},
			fakecloud.ServerError: {http.StatusInternalServerError, `{"error":"`},
			fakecloud.Denied:      {http.StatusForbidden, `{"error":"`},
		},
		fakecloud.GoogleIAM: {
			fakecloud.Throttle:    {http.StatusTooManyRequests, "RESOURCE_EXHAUSTED"},
			fakecloud.ServerError: {http.StatusInternalServerError, "INTERNAL"},
			fakecloud.Denied:      {http.StatusForbidden, "IAM_PERMISSION_DENIED"},
		},
	}
	cloud, _, i := googleCloud(t)
	cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: puller, WorkloadIdentityUsers: []string{googlePrincipal}})
	federated := federatedToken(t, cloud, i)
	calls := map[fakecloud.Service]func(*testing.T) answer{
		fakecloud.GoogleSTS: func(t *testing.T) answer {
			t.Helper()
			return sendForm(t, cloud, googleSTS, googleForm(i.token(t, googleAudience)))
		},
		fakecloud.GoogleIAM: func(t *testing.T) answer {
			t.Helper()
			return send(t, cloud, http.MethodPost, "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"+puller+":generateAccessToken",
				strings.NewReader(`{"scope":["`+cloudPlatform+`"]}`), http.Header{"Authorization": {"Bearer " + federated}})
		},
	}
	for service, call := range calls {
		for _, wants := range []map[fakecloud.FaultKind]refusal{shared, own[service]} {
			for kind, want := range wants {
				t.Run(string(service)+" "+string(kind), func(t *testing.T) {
					cloud.Fail(service, fakecloud.Fault{Kind: kind, Count: 1})
					if got := call(t); got.status != want.status || !strings.Contains(got.text, want.part) {
						t.Errorf("status %d, want %d, in %.200s", got.status, want.status, got.text)
					}
					call(t).has(t, http.StatusOK, "oken")
				})
			}
		}
	}
}
