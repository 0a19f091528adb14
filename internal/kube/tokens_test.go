package kube

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"github.com/imagepullsecrets/operator/providers"
)

const plantedToken = "planted-token"

var puller = providers.ServiceAccount{Namespace: "registry-access", Name: "puller", UID: "uid-1"}

// minting returns Tokens over an API server that mints as mint does and
// answers with status, as it is by then, whoever shows a token to it.
func minting(t *testing.T, status *int, mint clienttesting.ReactionFunc) (*Tokens, *int) {
	t.Helper()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if got := r.Header.Get("Authorization"); got != "Bearer "+plantedToken {
			t.Errorf("the API server is asked as somebody else than the token's account")
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(*status)
		if *status == http.StatusCreated {
			_, _ = w.Write([]byte(`{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}`))
			return
		}
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"` + http.StatusText(*status) + `"}`))
	}))
	t.Cleanup(server.Close)
	client := fake.NewClientset()
	client.PrependReactor("create", "serviceaccounts", mint)
	return NewTokens(client.CoreV1(), &rest.Config{Host: server.URL, BearerToken: "the-operators-own"}), &asked
}

func minted(action clienttesting.Action) (bool, runtime.Object, error) {
	request := action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenRequest).DeepCopy()
	request.Status.Token = plantedToken
	return true, request, nil
}

func TestATokenIsForOneAudienceAndShortLived(t *testing.T) {
	var asked *authenticationv1.TokenRequest
	tokens, _ := minting(t, ptr.To(http.StatusUnauthorized), func(action clienttesting.Action) (bool, runtime.Object, error) {
		asked = action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenRequest)
		if action.GetSubresource() != "token" || action.GetNamespace() != puller.Namespace {
			t.Errorf("asked for %s in %s", action.GetSubresource(), action.GetNamespace())
		}
		return minted(action)
	})
	token, err := tokens.Mint(t.Context(), puller, "sts.example.com")
	if err != nil || token != plantedToken {
		t.Fatalf("got %q, %v", token, err)
	}
	if len(asked.Spec.Audiences) != 1 || asked.Spec.Audiences[0] != "sts.example.com" || *asked.Spec.ExpirationSeconds != 600 || string(asked.UID) != puller.UID {
		t.Errorf("asked for %+v", asked)
	}
}

func TestTheAPIServerIsAskedAboutAnAudienceOnce(t *testing.T) {
	tokens, asked := minting(t, ptr.To(http.StatusUnauthorized), minted)
	for range 3 {
		if _, err := tokens.Mint(t.Context(), puller, "a"); err != nil {
			t.Fatal(err)
		}
	}
	if *asked != 1 {
		t.Errorf("asked %d times about one audience", *asked)
	}
	if _, err := tokens.Mint(t.Context(), puller, "b"); err != nil || *asked != 2 {
		t.Errorf("asked %d times about two audiences, %v", *asked, err)
	}
}

// The API server's own audiences change at a restart of it.
func TestAnHourLaterTheAPIServerIsAskedAboutAnAudienceAnew(t *testing.T) {
	status, now := http.StatusUnauthorized, time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	tokens, asked := minting(t, &status, minted)
	tokens.now = func() time.Time { return now }
	for _, step := range []struct {
		after time.Duration
		asked int
	}{{0, 1}, {time.Hour - time.Second, 1}, {time.Second, 2}, {time.Hour - time.Second, 2}} {
		now = now.Add(step.after)
		if _, err := tokens.Mint(t.Context(), puller, "a"); err != nil || *asked != step.asked {
			t.Errorf("at %s: asked %d times, want %d (%v)", now, *asked, step.asked, err)
		}
	}
	now, status = now.Add(time.Second), http.StatusCreated
	if token, err := tokens.Mint(t.Context(), puller, "a"); token != "" || providers.ClassOf(err) != providers.Invalid {
		t.Errorf("its own audience by now, and there is a token (%v)", err)
	}
}

// Whoever gets such a token could use it against this cluster.
func TestATokenForTheAPIServerIsNotGivenOut(t *testing.T) {
	cases := map[string]struct {
		status int
		class  providers.Class
		says   string
	}{
		"an audience that the API server lets in":      {http.StatusCreated, providers.Invalid, "is the API server's own"},
		"one that it knows and grants nothing":         {http.StatusForbidden, providers.Invalid, "is the API server's own"},
		"one that it can't tell about just now":        {http.StatusInternalServerError, providers.Transient, "asking the API server whether the audience"},
		"one that it does not want to tell about now":  {http.StatusTooManyRequests, providers.Transient, "asking the API server whether the audience"},
		"one about which nothing sensible is answered": {http.StatusTeapot, providers.Transient, "asking the API server whether the audience"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			tokens, _ := minting(t, &c.status, minted)
			token, err := tokens.Mint(t.Context(), puller, "https://kubernetes.default.svc")
			if token != "" || err == nil || providers.ClassOf(err) != c.class || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %q, %v of class %s", token, err, providers.ClassOf(err))
			}
			if err != nil && strings.Contains(err.Error(), plantedToken) {
				t.Errorf("%q tells the token", err)
			}
		})
	}
}

func TestMintingFails(t *testing.T) {
	accounts := corev1.Resource("serviceaccounts")
	cases := map[string]struct {
		err   error
		class providers.Class
		says  string
	}{
		"without the right, the rule is named": {
			apierrors.NewForbidden(accounts, "puller", errors.New(`User "u" cannot create resource "serviceaccounts/token" in API group "" in the namespace "registry-access"`)),
			providers.Forbidden,
			`in namespace registry-access the rule {apiGroups: [""], resources: [serviceaccounts/token], resourceNames: [puller], verbs: [create]}`,
		},
		"a policy's refusal is told": {
			apierrors.NewForbidden(accounts, "puller", errors.New("audience is not listed")), providers.Denied, "audience is not listed",
		},
		"an account that has gone is looked for again": {
			apierrors.NewNotFound(accounts, "puller"), providers.Transient, "registry-access/puller",
		},
		"another account of the name, too": {
			apierrors.NewConflict(accounts, "puller", errors.New("the UID does not match")), providers.Transient, "the UID does not match",
		},
		"an API server in trouble is asked again": {apierrors.NewInternalError(errors.New("boom")), providers.Transient, "boom"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			tokens, _ := minting(t, ptr.To(http.StatusUnauthorized), func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, c.err })
			_, err := tokens.Mint(t.Context(), puller, "a")
			if err == nil || providers.ClassOf(err) != c.class || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v of class %s", err, providers.ClassOf(err))
			}
		})
	}
	tokens, _ := minting(t, ptr.To(http.StatusUnauthorized), minted)
	if _, err := tokens.Mint(t.Context(), puller, ""); err == nil || providers.ClassOf(err) != providers.Invalid {
		t.Errorf("without an audience: %v", err)
	}
}
