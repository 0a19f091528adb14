package witness

import (
	"net/http"
	"testing"
	"time"

	"chainguard.dev/sdk/sts"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
)

const chainguardIssuer = "https://issuer.enforce.dev"

// chainguardClient is Chainguard's own client, for an identity. It takes no
// transport, but copies the process's own.
func chainguardClient(t *testing.T, identity string) *sts.HTTP1DowngradeExchanger {
	t.Helper()
	before := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = before })
	http.DefaultTransport = shared.cloud.HTTPClient().Transport
	return sts.NewHTTP1DowngradeExchanger(chainguardIssuer, "cgr.dev", sts.WithIdentity(identity))
}

func TestChainguardsClientObtainsAToken(t *testing.T) {
	source := federation.Chainguard(shared.cloud, shared.id, 2)
	pair, err := chainguardClient(t, source.Entry.Chainguard.Identity).Exchange(t.Context(), tokenFor(t, chainguardIssuer))
	if err != nil {
		t.Fatalf("Chainguard's client got no token: %v", err)
	}
	if until := time.Until(pair.Expiry); until < 30*time.Minute || until > time.Hour {
		t.Errorf("it is valid for %s", until)
	}
	expectOpens(t, source.Registry, "_token", pair.AccessToken)
}

func TestChainguardsClientUnderstandsRefusals(t *testing.T) {
	mine := federation.Chainguard(shared.cloud, shared.id, 3).Entry.Chainguard.Identity
	other := shared.id
	other.Name = "other"
	others := federation.Chainguard(shared.cloud, other, 4).Entry.Chainguard.Identity
	for name, test := range map[string]struct {
		identity, audience string
		fault              fakecloud.FaultKind
		want               codes.Code
	}{
		"an identity that trusts others":  {identity: others, audience: chainguardIssuer, want: codes.PermissionDenied},
		"a token for another audience":    {identity: mine, audience: "elsewhere", want: codes.PermissionDenied},
		"an identity that is none":        {identity: "mine", audience: chainguardIssuer, want: codes.InvalidArgument},
		"an identity that does not exist": {identity: mine[:39] + "f", audience: chainguardIssuer, want: codes.NotFound},
		"too many requests":               {identity: mine, audience: chainguardIssuer, fault: fakecloud.Throttle, want: codes.ResourceExhausted},
		"an error of the service":         {identity: mine, audience: chainguardIssuer, fault: fakecloud.ServerError, want: codes.Internal},
		"no token at all":                 {identity: mine, want: codes.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			token := ""
			if test.audience != "" {
				token = tokenFor(t, test.audience)
			}
			if test.fault != "" {
				shared.cloud.Fail(fakecloud.Chainguard, fakecloud.Fault{Kind: test.fault, Count: 1})
				defer shared.cloud.ClearFaults()
			}
			if _, err := chainguardClient(t, test.identity).Exchange(t.Context(), token); status.Code(err) != test.want {
				t.Errorf("the code is %s, want %s: %v", status.Code(err), test.want, err)
			}
		})
	}
}

// What its client takes for an outage is one in the fake, too.
func TestChainguardsClientTriesAgain(t *testing.T) {
	identity := federation.Chainguard(shared.cloud, shared.id, 5).Entry.Chainguard.Identity
	shared.cloud.Fail(fakecloud.Chainguard, fakecloud.Fault{Kind: fakecloud.BadGateway, Count: 2})
	defer shared.cloud.ClearFaults()
	before := shared.cloud.Calls(fakecloud.Chainguard)
	if _, err := chainguardClient(t, identity).Exchange(t.Context(), tokenFor(t, chainguardIssuer)); err != nil {
		t.Errorf("it gave up: %v", err)
	}
	if calls := shared.cloud.Calls(fakecloud.Chainguard) - before; calls != 3 {
		t.Errorf("it asked %d times, want 3", calls)
	}
}
