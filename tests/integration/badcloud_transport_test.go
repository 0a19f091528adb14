package integration

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
)

// spoken is how messages about a service begin, and what they say of answers
// in its own words.
var spoken = map[fakecloud.Service]struct{ at, throttled, failing, empty string }{
	fakecloud.STS: {"sts:AssumeRoleWithWebIdentity at sts.", "Throttling: Rate exceeded",
		"InternalFailure: The request processing has failed", "the answer does not hold the session's credentials"},
	fakecloud.ECR: {"ecr:GetAuthorizationToken at api.ecr.eu-central-1.amazonaws.com: ", "ThrottlingException: Rate exceeded",
		"ServerException: These errors are usually caused by a server-side issue", "the answer holds no authorizationData"},
	fakecloud.ECRPublic: {"ecr-public:GetAuthorizationToken at api.ecr-public.us-east-1.amazonaws.com: ", "ThrottlingException: Rate exceeded",
		"ServerException: These errors are usually caused by a server-side issue", "the answer holds no authorizationData"},
	fakecloud.GoogleSTS: {"token exchange at sts.googleapis.com: ", "rate_limit_exceeded: Quota exceeded",
		"internal_failure: Internal error encountered.", "the answer holds no token"},
	fakecloud.GoogleIAM: {"impersonation at iamcredentials.googleapis.com: ", "RATE_LIMIT_EXCEEDED: Quota exceeded",
		"INTERNAL: Internal error encountered.", "the answer holds no token"},
	fakecloud.Chainguard: {atChainguard, "ResourceExhausted: rate limit exceeded", "Internal: internal error", "the answer holds no token"},
	fakecloud.AzureAD: {atAzure, "AADSTS90055: The request was throttled due to excessive request rate.",
		"AADSTS90033: A transient error has occurred. Please try again.", "the answer holds no token"},
	fakecloud.ACR:           {"token exchange at example", "TOOMANYREQUESTS: too many requests", "UNKNOWN: unknown error", "the answer holds no token"},
	fakecloud.Quay:          {"robot federation at quay-", "429 Too Many Requests: slow_down", "500 Internal Server Error", "the answer holds no token"},
	fakecloud.TokenExchange: {"token exchange at idp-", "slow_down: too many requests", "server_error: an unexpected condition", "the answer holds no text at access_token"},
	fakecloud.JFrog:         {"token exchange at example-", "TOO_MANY_REQUESTS: Too many requests", "INTERNAL_SERVER_ERROR: Internal server error", "the answer holds no text at access_token"},
	fakecloud.DockerHub:     {atDockerHub, "429 Too Many Requests: too many requests", "500 Internal Server Error: internal server error", "the answer holds no text at access_token"},
}

// transportFault is an answer that says nothing about the source.
type transportFault struct {
	fault  fakecloud.Fault
	reason string
	// says is what people are told of a service.
	says func(fakecloud.Service) string
	// retried: SDKs repeat the request themselves, which takes seconds.
	retried bool
}

// always is what is said of every service.
func always(words string) func(fakecloud.Service) string {
	return func(fakecloud.Service) string { return words }
}

var transportFaults = map[string]transportFault{
	"asks for fewer requests": {
		fault: fakecloud.Fault{Kind: fakecloud.Throttle, RetryAfter: 2 * time.Second}, retried: true,
		reason: v1alpha1.ReasonThrottled, says: func(s fakecloud.Service) string { return spoken[s].throttled },
	},
	"fails": {
		fault: fakecloud.Fault{Kind: fakecloud.ServerError}, retried: true,
		reason: v1alpha1.ReasonUnavailable, says: func(s fakecloud.Service) string { return spoken[s].failing },
	},
	"is behind a gateway that fails": {
		fault: fakecloud.Fault{Kind: fakecloud.BadGateway}, retried: true,
		reason: v1alpha1.ReasonUnavailable, says: always("answered 502 Bad Gateway with text/html instead of data; a proxy in between?"),
	},
	"is behind a captive portal": {
		fault:  fakecloud.Fault{Kind: fakecloud.HTML},
		reason: v1alpha1.ReasonUnavailable, says: always("answered 200 OK with text/html instead of data; a proxy in between?"),
	},
	"answers without what was asked for": {
		fault:  fakecloud.Fault{Kind: fakecloud.Empty},
		reason: v1alpha1.ReasonUnavailable, says: func(s fakecloud.Service) string { return spoken[s].empty },
	},
	"hangs up": {
		fault:  fakecloud.Fault{Kind: fakecloud.Truncate},
		reason: v1alpha1.ReasonUnavailable, says: always("that can't be read; a proxy in between?"),
	},
	"talks without end": {
		fault:  fakecloud.Fault{Kind: fakecloud.Oversize},
		reason: v1alpha1.ReasonUnavailable, says: always("the answer (200 OK) is longer than 1048576 bytes"),
	},
	"points elsewhere": {
		fault:  fakecloud.Fault{Kind: fakecloud.Redirect},
		reason: v1alpha1.ReasonUnavailable, says: always("answered with a redirect (307 Temporary Redirect), which is not followed"),
	},
}

func askedFirst(source federation.Source) fakecloud.Service { return source.Service }

// askedLast is the service that an exchange of a source asks last; "" if it
// asks only one.
func askedLast(source federation.Source) fakecloud.Service {
	switch entry := source.Entry; {
	case entry.ECR != nil:
		return fakecloud.ECR
	case entry.ECRPublic != nil:
		return fakecloud.ECRPublic
	case entry.GoogleArtifactRegistry != nil && entry.GoogleArtifactRegistry.GoogleServiceAccount != "":
		return fakecloud.GoogleIAM
	case entry.AzureContainerRegistry != nil:
		return fakecloud.ACR
	default:
		return ""
	}
}

// onlyIf leaves services out.
func onlyIf(asked func(federation.Source) fakecloud.Service, wanted func(fakecloud.Service) bool) func(federation.Source) fakecloud.Service {
	return func(source federation.Source) fakecloud.Service {
		if service := asked(source); wanted(service) {
			return service
		}
		return ""
	}
}

// bySDK tells services that are asked by way of an SDK that repeats requests;
// Google's is told not to.
func bySDK(service fakecloud.Service) bool {
	return slices.Contains([]fakecloud.Service{fakecloud.STS, fakecloud.ECR, fakecloud.ECRPublic}, service)
}

// The faults befall whoever asks, so these tests follow one another.
func TestBadTransportIsToldAndPasses(t *testing.T) {
	for sentence, fault := range transportFaults {
		// Those that are repeated are tried apart, so that others need not wait for them.
		quick := func(service fakecloud.Service) bool { return !fault.retried || !bySDK(service) }
		t.Run("the service that is asked first "+sentence, func(t *testing.T) {
			expectTransportFault(t, fault, onlyIf(askedFirst, quick))
		})
		t.Run("the service that is asked last "+sentence, func(t *testing.T) {
			expectTransportFault(t, fault, onlyIf(askedLast, quick))
		})
		if fault.retried {
			t.Run("the service that is asked first, by an SDK, "+sentence, func(t *testing.T) {
				expectTransportFault(t, fault, onlyIf(askedFirst, bySDK))
			})
			t.Run("the service that is asked last, by an SDK, "+sentence, func(t *testing.T) {
				expectTransportFault(t, fault, onlyIf(askedLast, bySDK))
			})
		}
	}
	if slices.Contains(shared.cloud.UnknownHosts(), fakecloud.RedirectHost) {
		t.Error("a redirect was followed")
	}
}

// expectTransportFault lets one service of each source misbehave; sources for
// which failing names none are left out.
func expectTransportFault(t *testing.T, fault transportFault, failing func(federation.Source) fakecloud.Service) {
	t.Helper()
	id, label := identity(t), unique("label")
	selected := namespace(t, label, "yes")
	sources := slices.DeleteFunc(federation.Kinds(shared.cloud, id, number()), func(source federation.Source) bool { return failing(source) == "" })
	t.Cleanup(shared.cloud.ClearFaults)
	failed := map[fakecloud.Service]bool{}
	for _, source := range sources {
		if service := failing(source); !failed[service] {
			failed[service] = true
			shared.cloud.Fail(service, fault.fault)
		}
	}
	name := objectOf(t, label, id, sources...)

	told := expectAllFailed(t, name, len(sources))
	for i, source := range sources {
		service := failing(source)
		if told[i].Reason != fault.reason || !strings.HasPrefix(told[i].Message, spoken[service].at) || !strings.Contains(told[i].Message, fault.says(service)) {
			t.Errorf("of %s it is told %s: %q, want %s: %q and then %q",
				source.Name, told[i].Reason, told[i].Message, fault.reason, spoken[service].at, fault.says(service))
		}
	}
	expectSecret(t, selected, "pull", goodRegistry)
	expectNoLeak(t, name)
	shared.cloud.ClearFaults()
	expectRecovered(t, name, selected, sources)
}

// expectRecovered waits until all of an object's sources give logins, which
// may take as long as the wait between two attempts.
func expectRecovered(t *testing.T, name, selected string, sources []federation.Source) {
	t.Helper()
	eventuallyLong(t, "every login", func() error {
		secret, err := secretIn(t, selected, "pull")
		if err != nil {
			return err
		}
		return sameRegistries(secret, registriesBeside(goodRegistry, sources))
	})
	expectReady(t, name, 1)
}

// objectOf makes an object with sources, and a static one behind them.
func objectOf(t *testing.T, label string, id federation.Identity, sources ...federation.Source) string {
	t.Helper()
	var entries []v1alpha1.CredentialSource
	for _, source := range sources {
		entries = append(entries, source.Entry)
	}
	return object(t, "pull", label, append(entries, staticSource(t, id.Namespace, goodRegistry))...).Name
}

// registriesBeside are all that a Secret of sources, and of another one, has a
// login for.
func registriesBeside(other string, sources []federation.Source) []string {
	registries := []string{other}
	for _, source := range sources {
		registries = append(registries, source.Registry)
		if source.Entry.ECRPublic != nil {
			registries = append(registries, "ecr-public.aws.com")
		}
	}
	return registries
}

// expectAllFailed waits until each of an object's first sources was told
// failed, and returns what was told first of each.
func expectAllFailed(t *testing.T, name string, count int) []v1alpha1.CredentialStatus {
	t.Helper()
	told := make([]v1alpha1.CredentialStatus, count)
	eventually(t, "all sources of "+name+" to be told failed", func() error {
		status := get(t, name).Status
		if len(status.Credentials) < count {
			return errors.New("no status yet")
		}
		for i, now := range status.Credentials[:count] {
			if told[i].Message == "" && now.Ready == metav1.ConditionFalse {
				told[i] = now
			}
		}
		if i := slices.IndexFunc(told, func(c v1alpha1.CredentialStatus) bool { return c.Message == "" }); i >= 0 {
			return fmt.Errorf("nothing is told of %s", status.Credentials[i].Name)
		}
		return nil
	})
	return told
}

// What a service asks to wait is heeded, by way of SDKs, too: without it, the
// next attempt would be a few seconds away.
func TestBadTransportRetryAfterIsHeeded(t *testing.T) {
	id, label := identity(t), unique("label")
	sources := federation.Kinds(shared.cloud, id, number())
	t.Cleanup(shared.cloud.ClearFaults)
	for _, service := range cloudServices {
		shared.cloud.Fail(service, fakecloud.Fault{Kind: fakecloud.Throttle, RetryAfter: 4 * time.Minute})
	}
	name := objectOf(t, label, id, sources...)
	asked := time.Now()
	for i, told := range expectAllFailed(t, name, len(sources)) {
		if told.RenewAt == nil || told.RenewAt.Sub(asked) < 3*time.Minute {
			t.Errorf("%s is tried again at %v, which was asked at %v to wait 4 minutes", sources[i].Name, told.RenewAt, asked)
		}
	}
}

func TestBadTransportInAClusterOfItsOwn(t *testing.T) {
	own := ownCluster(t, withAllRights)
	trusted(t, own)
	t.Run("a certificate that is not trusted", func(t *testing.T) { expectDistrust(t, own) })
	t.Run("the operator is killed while every exchange hangs", func(t *testing.T) { expectHangSurvived(t, own) })
}

// expectHangSurvived kills the operator while every exchange hangs, and starts
// it again: they are begun anew, told to hang, and made when the services
// answer.
func expectHangSurvived(t *testing.T, own *cluster.Cluster) {
	t.Helper()
	process := runOperator(t, own)
	mended := breakdown(t, fakecloud.Hang)
	id, label := identity(t), unique("label")
	selected := namespace(t, label, "yes")
	sources := federation.Kinds(shared.cloud, id, number())
	before := exchanges()
	name := objectOf(t, label, id, sources...)
	eventually(t, "every exchange to be under way", func() error {
		if begun := exchanges() - before; begun < len(sources) {
			return fmt.Errorf("%d of %d are", begun, len(sources))
		}
		return nil
	})
	expectSecret(t, selected, "pull", goodRegistry)

	process.Kill()
	process = runOperator(t, own)
	for i, told := range expectAllFailed(t, name, len(sources)) {
		at := spoken[sources[i].Service].at
		if told.Reason != v1alpha1.ReasonUnavailable || !strings.HasPrefix(told.Message, at) || !strings.Contains(told.Message, "no answer within the time allowed") {
			t.Errorf("of %s it is told %s: %s", sources[i].Name, told.Reason, told.Message)
		}
	}
	expectSecret(t, selected, "pull", goodRegistry)
	expectNoLeak(t, name)
	mended()
	expectRecovered(t, name, selected, sources)
	if err := process.Stop(); err != nil {
		t.Error(err)
	}
}

// expectDistrust runs an operator that does not know the CA of what answers:
// it says so, and what to do. Sources that name the CA work.
func expectDistrust(t *testing.T, own *cluster.Cluster) {
	t.Helper()
	process := runOperatorAs(t, own, []string{"SSL_CERT_FILE=" + os.DevNull})
	id, label := identity(t), unique("label")
	selected := namespace(t, label, "yes")
	sources := federation.Kinds(shared.cloud, id, number())
	name := objectOf(t, label, id, sources...)
	for i, told := range expectAllFailed(t, name, len(sources)) {
		if told.Reason != v1alpha1.ReasonUnavailable || !strings.Contains(told.Message, "the certificate is not trusted") || !strings.Contains(told.Message, "CA") {
			t.Errorf("of %s it is told %s: %s", sources[i].Name, told.Reason, told.Message)
		}
	}

	authority, err := os.ReadFile(shared.cloud.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	var trusting []federation.Source
	update(t, name, func(object *v1alpha1.ImagePullSecret) {
		for i := range sources {
			switch entry := &object.Spec.Registry.Credentials[i]; {
			case entry.Quay != nil:
				entry.Quay.CABundle = string(authority)
			case entry.TokenExchange != nil:
				entry.TokenExchange.CABundle = string(authority)
			default:
				continue
			}
			trusting = append(trusting, sources[i])
		}
	})
	expectSecret(t, selected, "pull", registriesBeside(goodRegistry, trusting)...)
	if err := process.Stop(); err != nil {
		t.Error(err)
	}
}
