package gar

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/providers"
)

const (
	audience = "https://iam.googleapis.com/" + testProvider
	subject  = "system:serviceaccount:team:puller"
	atSTS    = "token exchange at sts.googleapis.com: "
	atIAM    = "impersonation at iamcredentials.googleapis.com: "
)

// answers that are refused alike, whoever gives them.
var foreign = map[string]struct {
	reply reply
	class providers.Class
	want  string // behind the call
}{
	"throttled without a word": {
		reply{status: 429, header: map[string]string{"Retry-After": "7"}}, providers.Throttled, "429 Too Many Requests",
	},
	"a quota": {
		rpcError(429, "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", "Quota exceeded for quota metric 'Token exchange requests'."),
		providers.Throttled, "RATE_LIMIT_EXCEEDED: Quota exceeded for quota metric 'Token exchange requests'.",
	},
	"a server's error": {
		rpcError(503, "UNAVAILABLE", "", "The service is currently unavailable."),
		providers.Transient, "UNAVAILABLE: The service is currently unavailable.",
	},
	"a server's error without a word": {reply{status: 502}, providers.Transient, "answered 502 Bad Gateway"},
	"a gateway's timeout":             {reply{status: 504, body: "{}"}, providers.Transient, "answered 504 Gateway Timeout"},
	"a page for browsers": {
		reply{status: 403, header: map[string]string{"Content-Type": "text/html"}, body: "<html>log in</html>"},
		providers.Transient, "answered 403 Forbidden with text/html instead of data; a proxy in between?",
	},
	"a captive proxy's page": {
		reply{status: 200, header: map[string]string{"Content-Type": "text/html"}, body: "<html>log in</html>"},
		providers.Transient, "answered 200 OK with text/html instead of data; a proxy in between?",
	},
	"a redirect": {
		reply{status: 307, header: map[string]string{"Location": "https://evil.example/"}},
		providers.Transient, "answered with a redirect (307 Temporary Redirect), which is not followed; a proxy in between?",
	},
	"ten megabytes": {
		reply{status: 200, body: strings.Repeat(" ", 10<<20)},
		providers.Transient, "the answer (200 OK) is longer than 1048576 bytes",
	},
	"an answer that breaks off": {
		reply{status: 200, header: map[string]string{"Content-Length": "100"}, body: `{"access_token":"fed.planted-token"`},
		providers.Transient, "answered 200 OK with application/json that can't be read; a proxy in between?",
	},
	"a refusal in no form of Google's": {
		reply{status: 403, header: map[string]string{"Content-Type": "text/plain"}, body: "blocked"},
		providers.Transient, "answered 403 Forbidden with text/plain that can't be read; a proxy in between?",
	},
	"an unknown refusal of the identity": {
		rpcError(403, "", "SOMETHING_NEW", "No."), providers.Denied, "SOMETHING_NEW: No.",
	},
	"an unknown refusal of the request": {
		rpcError(400, "", "SOMETHING_NEW", "No."), providers.Invalid, "SOMETHING_NEW: No.",
	},
}

func TestAnswersThatAnybodyMayGive(t *testing.T) {
	for host, call := range map[string]string{stsHost: atSTS, iamHost: atIAM} {
		for name, test := range foreign {
			t.Run(host+": "+name, func(t *testing.T) {
				fake := newFakeGoogle(t)
				fake.replies[host] = []reply{test.reply}
				_, err := newProvider(t, fake, impersonating()).Fetch(t.Context(), env(testNow, nil))
				failure := failed(t, err)
				if failure.Class != test.class || failure.Message != call+test.want {
					t.Errorf("got  %s: %s\nwant %s: %s%s", failure.Class, failure.Message, test.class, call, test.want)
				}
				asked := 0
				for _, request := range fake.sent() {
					if strings.Contains(request.address, host) {
						asked++
					} else if !strings.Contains(request.address, stsHost) {
						t.Errorf("sent to %s", request.address)
					}
				}
				if asked != 1 {
					t.Errorf("asked %d times", asked)
				}
				if failure.Class == providers.Throttled && test.reply.header != nil && failure.RetryAfter != 7*time.Second {
					t.Errorf("to be tried again after %s", failure.RetryAfter)
				}
			})
		}
	}
}

func TestRefusalsByTheTokenExchange(t *testing.T) {
	for name, test := range map[string]struct {
		reply reply
		class providers.Class
		want  string
	}{
		"an audience that is no provider's name": {
			oauthError(400, "invalid_request", `Invalid value for "audience". This value should be the full resource name of the Identity Provider.`),
			providers.Invalid,
			`invalid_request: Invalid value for "audience". This value should be the full resource name of the Identity Provider.; ` +
				"check that the pool and the provider of workloadIdentityProvider exist and are enabled, and that it names the project's number",
		},
		"a pool that is disabled or not there": {
			oauthError(400, "invalid_target", `The target service indicated by the "audience" parameters is invalid. This might either be because the pool or provider is disabled or deleted or because it doesn't exist.`),
			providers.Invalid,
			`invalid_target: The target service indicated by the "audience" parameters is invalid. This might either be because the pool or provider is disabled or deleted or because it doesn't exist.; ` +
				"check that the pool and the provider of workloadIdentityProvider exist and are enabled",
		},
		"an attribute condition": {
			oauthError(401, "unauthorized_client", "The given credential is rejected by the attribute condition."),
			providers.Denied,
			"unauthorized_client: The given credential is rejected by the attribute condition.; " +
				"let the attribute condition of the workload identity provider admit assertion.sub == '" + subject + "'",
		},
		"a client that is not authorised": {
			oauthError(401, "unauthorized_client", "No."), providers.Denied,
			"unauthorized_client: No.; let the workload identity provider trust subject " + subject,
		},
		"a wrong audience": {
			oauthError(400, "invalid_grant", "The audience in ID Token [x] does not match the expected audience."),
			providers.Invalid,
			"invalid_grant: The audience in ID Token [x] does not match the expected audience.; " +
				"let the workload identity provider allow the audience " + audience + ", or set audience to one that it allows",
		},
		"a wrong issuer": {
			oauthError(400, "invalid_grant", "The issuer in ID Token https://issuer.example does not match the expected ones."),
			providers.Invalid,
			"invalid_grant: The issuer in ID Token https://issuer.example does not match the expected ones.; " +
				`let the workload identity provider trust this cluster's issuer "https://issuer.example"`,
		},
		"an issuer that can't be reached, or wrong keys": {
			oauthError(400, "invalid_grant", "Error connecting to the given credential's issuer."),
			providers.Transient,
			"invalid_grant: Error connecting to the given credential's issuer.; Google must reach this cluster's issuer, " +
				"or upload this cluster's present keys to the provider (kubectl get --raw /openid/v1/jwks)",
		},
		"a wrong signature": {
			oauthError(400, "invalid_grant", "Invalid ID Token signature."), providers.Denied,
			"invalid_grant: Invalid ID Token signature.; upload this cluster's present keys to the provider (kubectl get --raw /openid/v1/jwks)",
		},
		"a grant that is invalid for another reason": {
			oauthError(400, "invalid_grant", "No."), providers.Denied,
			`invalid_grant: No.; let the workload identity provider trust issuer "https://issuer.example", audience ` + audience +
				" and subject " + subject + ", by the cluster's present keys",
		},
		"names that are too long together": {
			oauthError(400, "invalid_request", "The size of mapped attribute google.subject exceeds the 127 bytes limit."),
			providers.Invalid,
			"invalid_request: The size of mapped attribute google.subject exceeds the 127 bytes limit.; " +
				"the workload identity provider must map google.subject to at most 127 bytes; a shorter namespace or name of ServiceAccount team/puller would do",
		},
		"a service that is not enabled": {
			rpcError(403, "PERMISSION_DENIED", "SERVICE_DISABLED", "Security Token Service API has not been used in project 1 before or it is disabled."),
			providers.Denied,
			"SERVICE_DISABLED: Security Token Service API has not been used in project 1 before or it is disabled.; " +
				"enable sts.googleapis.com in the pool's project",
		},
		"a configuration's fault while the service fails": {
			oauthError(503, "invalid_target", "No."), providers.Transient, "invalid_target: No.",
		},
		"no token in the answer": {
			reply{status: 200, body: `{"expires_in":3599}`}, providers.Transient,
			"the answer holds no token",
		},
		"no end of its life in the answer": {
			reply{status: 200, body: `{"access_token":"fed.planted-token"}`}, providers.Transient,
			"the answer does not say when its token expires",
		},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFakeGoogle(t)
			fake.replies[stsHost] = []reply{test.reply}
			_, err := newProvider(t, fake, direct()).Fetch(t.Context(), env(testNow, nil))
			if failure := failed(t, err); failure.Class != test.class || failure.Message != atSTS+test.want {
				t.Errorf("got  %s: %s\nwant %s: %s%s", failure.Class, failure.Message, test.class, atSTS, test.want)
			}
			if sent := len(fake.sent()); sent != 1 {
				t.Errorf("asked %d times", sent)
			}
		})
	}
}

func TestRefusalsByTheTokenExchangeOfAGKECluster(t *testing.T) {
	config := direct()
	config.WorkloadIdentityProvider, config.GKECluster = "", testCluster
	for name, test := range map[string]struct{ code, description, want string }{
		"no such cluster": {
			"invalid_target", "No.", "; check gkeCluster, and that workload identity federation is enabled for the cluster",
		},
		"another cluster": {"invalid_grant", "Invalid ID Token signature.", "; gkeCluster must be this cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFakeGoogle(t)
			fake.replies[stsHost] = []reply{oauthError(400, test.code, test.description)}
			_, err := newProvider(t, fake, config).Fetch(t.Context(), env(testNow, nil))
			if want := atSTS + test.code + ": " + test.description + test.want; failed(t, err).Message != want {
				t.Errorf("got  %s\nwant %s", err, want)
			}
		})
	}
}

func TestRefusalsByTheImpersonation(t *testing.T) {
	const denied = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."
	permission := rpcError(403, "PERMISSION_DENIED", "IAM_PERMISSION_DENIED", denied)
	for name, test := range map[string]struct {
		change func(*Config)
		reply  reply
		class  providers.Class
		want   string
	}{
		"a missing role": {
			func(*Config) {}, permission, providers.Denied,
			"IAM_PERMISSION_DENIED: " + denied + "; grant roles/iam.workloadIdentityUser on " + testEmail + " to " + testMember,
		},
		"a missing role without details": {
			func(*Config) {},
			reply{status: 403, body: `{"error":{"code":403,"message":"The caller does not have permission","status":"PERMISSION_DENIED"}}`},
			providers.Denied,
			"PERMISSION_DENIED: The caller does not have permission; grant roles/iam.workloadIdentityUser on " + testEmail + " to " + testMember,
		},
		"a missing role on the way": {
			func(c *Config) {
				c.Delegates = []string{"one@p.iam.gserviceaccount.com", "two@p.iam.gserviceaccount.com"}
			},
			permission, providers.Denied,
			"IAM_PERMISSION_DENIED: " + denied + "; grant roles/iam.serviceAccountTokenCreator on one@p.iam.gserviceaccount.com to " + testMember +
				", roles/iam.serviceAccountTokenCreator on two@p.iam.gserviceaccount.com to one@p.iam.gserviceaccount.com" +
				", roles/iam.serviceAccountTokenCreator on " + testEmail + " to two@p.iam.gserviceaccount.com",
		},
		"a missing role to act through another": {
			func(c *Config) { c.Delegates = []string{"one@p.iam.gserviceaccount.com"} },
			rpcError(403, "PERMISSION_DENIED", "IAM_PERMISSION_DENIED", "Permission 'iam.serviceAccounts.implicitDelegation' denied on resource (or it may not exist)."),
			providers.Denied,
			"IAM_PERMISSION_DENIED: Permission 'iam.serviceAccounts.implicitDelegation' denied on resource (or it may not exist).; " +
				"grant roles/iam.serviceAccountTokenCreator on one@p.iam.gserviceaccount.com to " + testMember +
				", roles/iam.serviceAccountTokenCreator on " + testEmail + " to one@p.iam.gserviceaccount.com",
		},
		"a missing role of a GKE cluster's ServiceAccount": {
			func(c *Config) { c.WorkloadIdentityProvider, c.GKECluster = "", testCluster },
			permission, providers.Denied,
			"IAM_PERMISSION_DENIED: " + denied + "; grant roles/iam.workloadIdentityUser on " + testEmail +
				" to serviceAccount:my-project.svc.id.goog[team/puller]",
		},
		"a service that is not enabled": {
			func(*Config) {},
			rpcError(403, "PERMISSION_DENIED", "SERVICE_DISABLED", "IAM Service Account Credentials API has not been used in project 1 before or it is disabled."),
			providers.Denied,
			"SERVICE_DISABLED: IAM Service Account Credentials API has not been used in project 1 before or it is disabled.; " +
				"enable iamcredentials.googleapis.com in the project that is named",
		},
		"no such account": {
			func(*Config) {},
			reply{status: 404, body: `{"error":{"code":404,"message":"Not found; Gaia id not found for email x","status":"NOT_FOUND"}}`},
			providers.Invalid,
			"NOT_FOUND: Not found; Gaia id not found for email x; check that the Google service account " + testEmail + " exists",
		},
		"an invalid request": {
			func(*Config) {},
			reply{status: 400, body: `{"error":{"code":400,"message":"Request contains an invalid argument.","status":"INVALID_ARGUMENT"}}`},
			providers.Invalid,
			"INVALID_ARGUMENT: Request contains an invalid argument.; check googleServiceAccount and delegates",
		},
		"a refusal that quotes tokens": {
			func(*Config) {}, rpcError(401, "UNAUTHENTICATED", "", "Bad token "+mint(testNow)+" or "+plantedFederated+"!"),
			providers.Denied, "UNAUTHENTICATED: Bad token *** or ***!",
		},
		"an answer without a token": {
			func(*Config) {}, reply{status: 200, body: `{"expireTime":"2026-11-21T13:00:00Z"}`}, providers.Transient,
			"the answer holds no token",
		},
		"an answer without the end of its life": {
			func(*Config) {}, reply{status: 200, body: `{"accessToken":"ya29.planted"}`}, providers.Transient,
			"the answer does not say when its token expires",
		},
		"an answer of other types": {
			func(*Config) {}, reply{status: 200, body: `{"accessToken":["ya29.planted"]}`}, providers.Transient,
			"answered 200 OK with application/json that can't be read; a proxy in between?",
		},
		"a token that has expired": {
			func(*Config) {}, impersonated(testNow), providers.Transient, "the answer's token expired at 2026-11-21T12:00:00Z already",
		},
		"a token that has expired by a clock that is ahead": {
			func(*Config) {}, impersonated(testNow.Add(-time.Hour)).dated(testNow.Add(-2 * time.Hour)), providers.ClockSkew,
			"the answer's token expired at 2026-11-21T11:00:00Z already; this machine's clock is 2h0m0s ahead of Google's: set it right",
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := impersonating()
			test.change(&config)
			fake := newFakeGoogle(t)
			fake.replies[iamHost] = []reply{test.reply}
			_, err := newProvider(t, fake, config).Fetch(t.Context(), env(testNow, nil))
			if failure := failed(t, err); failure.Class != test.class || failure.Message != atIAM+test.want {
				t.Errorf("got  %s: %s\nwant %s: %s%s", failure.Class, failure.Message, test.class, atIAM, test.want)
			}
			if sent := len(fake.sent()); sent != 2 {
				t.Errorf("asked %d times", sent)
			}
		})
	}
}

func TestReadRefusal(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want said
	}{
		"OAuth's form":                       {`{"error":"a","error_description":"b"}`, said{"a", "b"}},
		"OAuth's form without a description": {`{"error":"a"}`, said{"a", ""}},
		"a description of another type":      {`{"error_description":1,"error":"a"}`, said{"a", ""}},
		"Google's form":                      {`{"error":{"status":"a","message":"b"}}`, said{"a", "b"}},
		"Google's form with a reason":        {`{"error":{"status":"a","message":"b","details":[{"@type":"x"},{"reason":"c"}]}}`, said{"c", "b"}},
		"details of another type":            {`{"error":{"status":"a","message":"b","details":{"reason":"c"}}}`, said{"a", "b"}},
		"a reason of another type":           {`{"error":{"details":[{"reason":1},{"reason":"c"}],"status":"a"}}`, said{"c", ""}},
		"no error":                           {`{}`, said{}},
		"null":                               {`null`, said{}},
		"a list":                             {`[{"error":"a"}]`, said{}},
		"a number":                           {`{"error":403}`, said{}},
		"nothing":                            {``, said{}},
		"half of it":                         {`{"error":"a"`, said{}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := readRefusal([]byte(test.body)); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func FuzzRefusal(f *testing.F) {
	for _, test := range foreign {
		if len(test.reply.body) < 1<<10 {
			f.Add(test.reply.status, test.reply.body)
		}
	}
	f.Add(400, `{"error":"invalid_grant","error_description":"stale to sign-in `+plantedFederated+`"}`)
	f.Add(400, `{"error":{"status":"`+plantedFederated+`","details":[{"reason":1}]}}`)
	provider, err := New(impersonating(), http.DefaultClient)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		run := newRun(provider)
		run.scrub.Add(plantedFederated)
		for _, verdicts := range [][]verdict{run.exchangeVerdicts("https://issuer.example"), run.impersonationVerdicts()} {
			failure := failed(t, run.refused(callOf(stsHost), answerOf(status, body), verdicts))
			if failure.Class < providers.Invalid || failure.Class > providers.Transient || failure.Class == providers.ClockSkew {
				t.Errorf("class %s", failure.Class)
			}
			if len([]rune(failure.Message)) > 1024 {
				t.Errorf("a message of %d characters", len([]rune(failure.Message)))
			}
		}
	})
}
