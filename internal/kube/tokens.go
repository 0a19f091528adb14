package kube

import (
	"context"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	authenticationv1client "k8s.io/client-go/kubernetes/typed/authentication/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/imagepullsecrets/operator/internal/rights"
	"github.com/imagepullsecrets/operator/providers"
)

// tokenLife is the shortest life that the API server gives a token. An
// exchange uses it at once, and a second time never.
const tokenLife = 10 * time.Minute

// foreignFor is how long an audience is taken not to be the API server's own:
// its --api-audiences change at a restart.
const foreignFor = time.Hour

// Tokens mints tokens of ServiceAccounts. It is safe for concurrent use.
type Tokens struct {
	client corev1client.ServiceAccountsGetter
	config *rest.Config
	now    func() time.Time

	mu sync.Mutex
	// foreign are the audiences that are not the API server's own, and until
	// when that is taken for granted.
	foreign map[string]time.Time
}

// NewTokens returns Tokens that are minted through client. config says how to
// reach the same API server; its identity is not used.
func NewTokens(client corev1client.ServiceAccountsGetter, config *rest.Config) *Tokens {
	return &Tokens{client: client, config: rest.AnonymousClientConfig(config), now: time.Now, foreign: map[string]time.Time{}}
}

// Mint returns a new token of a ServiceAccount for one audience, good for ten
// minutes. It refuses an audience by which the token would open the API server
// itself. The error is a *providers.Error.
func (t *Tokens) Mint(ctx context.Context, account providers.ServiceAccount, audience string) (string, error) {
	if audience == "" {
		return "", providers.Errorf(providers.Invalid, "a token of ServiceAccount %s needs an audience", account)
	}
	request := &authenticationv1.TokenRequest{
		// Of an account that was deleted and made anew meanwhile there is none.
		ObjectMeta: metav1.ObjectMeta{UID: types.UID(account.UID)},
		Spec: authenticationv1.TokenRequestSpec{
			Audiences:         []string{audience},
			ExpirationSeconds: ptr.To(int64(tokenLife / time.Second)),
		},
	}
	minted, err := t.client.ServiceAccounts(account.Namespace).CreateToken(ctx, account.Name, request, metav1.CreateOptions{})
	if err != nil {
		return "", mintingFailed(account, err)
	}
	if err := t.refuseOwnAudience(ctx, audience, minted.Status.Token); err != nil {
		return "", err
	}
	return minted.Status.Token, nil
}

func mintingFailed(account providers.ServiceAccount, err error) error {
	failure := providers.Errorf(providers.Transient, "minting a token of ServiceAccount %s: %v", account, err)
	switch {
	case rights.Missing(err):
		failure = providers.Errorf(providers.Forbidden,
			"the operator may not mint tokens of ServiceAccount %s: add to a Role of its ServiceAccount in namespace %s the rule %s (chart: identities, or annotatedServiceAccounts.namespaces)",
			account, account.Namespace, rights.ForToken(account.Name))
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		failure.Class = providers.Denied // by admission, or by the API server's own limits
	}
	failure.Cause = err
	return failure
}

// refuseOwnAudience returns an error if the API server takes a token of this
// audience for a login to itself. It asks once an hour for each audience.
func (t *Tokens) refuseOwnAudience(ctx context.Context, audience, token string) error {
	t.mu.Lock()
	until := t.foreign[audience]
	t.mu.Unlock()
	if t.now().Before(until) {
		return nil
	}
	config := rest.CopyConfig(t.config)
	config.BearerToken = token
	client, err := authenticationv1client.NewForConfig(config)
	if err != nil {
		return providers.Errorf(providers.Transient, "checking the audience %q: %v", audience, err)
	}
	_, err = client.SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	switch {
	case apierrors.IsUnauthorized(err):
		t.mu.Lock()
		defer t.mu.Unlock()
		t.foreign[audience] = t.now().Add(foreignFor)
		return nil
	case err == nil, apierrors.IsForbidden(err):
		return providers.Errorf(providers.Invalid,
			"the audience %q is the API server's own: whoever gets such a token can use it against this cluster; set the audience that the other side expects", audience)
	default:
		return providers.Errorf(providers.Transient, "asking the API server whether the audience %q is its own: %v", audience, err)
	}
}
