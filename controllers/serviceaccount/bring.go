package serviceaccount

import (
	"context"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/kube"
)

// brought remembers in which state each grant was brought to ServiceAccounts.
type brought struct {
	mu     sync.Mutex
	grants map[string]bringing
}

type bringing struct {
	state state
	at    time.Time
}

// state is what the ServiceAccounts of a grant depend on.
type state struct {
	uid        types.UID
	generation int64
	unsure     bool
	secretName string
}

func (b *brought) get(grant string) bringing {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.grants[grant]
}

func (b *brought) set(grant string, done bringing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.grants == nil {
		b.grants = map[string]bringing{}
	}
	b.grants[grant] = done
}

func (b *brought) end(grant string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.grants, grant)
}

// Bring brings a grant, which is in the Book, to all ServiceAccounts that it
// concerns, if that was not done in this state of it: those that it selects
// are on the Board when it returns, Pending if nothing is known of them, and
// they and those that it may have selected before are looked at. Until
// ServiceAccounts are watched it does nothing.
func (c *Controller) Bring(ctx context.Context, g *grant.Grant) error {
	if c.accounts.watched() == nil {
		return nil
	}
	now := bringing{state{g.UID, g.Generation, g.Unsure, g.SecretName}, c.Clock.Now()}
	before := c.brought.get(g.Name)
	if before.state == now.state && now.at.Sub(before.at) < c.ResyncInterval {
		return nil
	}
	selected, err := c.selected(ctx, g)
	if err != nil {
		return err
	}
	if before.state.secretName != g.SecretName {
		c.look(c.Board.Drop(g.Name), before.state.secretName)
	}
	places := make([]string, len(selected))
	for i, key := range selected {
		places[i] = key.String()
	}
	c.look(c.Board.Select(g.Name, places), g.SecretName)
	c.queue.AddKeys(kube.Bulk, selected...)
	c.brought.set(g.Name, now)
	return nil
}

// selected returns the ServiceAccounts that a grant selects.
func (c *Controller) selected(ctx context.Context, g *grant.Grant) ([]types.NamespacedName, error) {
	if !g.Accounts.HasRules() {
		return nil, nil
	}
	namespaces, err := c.Scope.Selected(ctx, g)
	if err != nil {
		return nil, err
	}
	var selected []types.NamespacedName
	for _, namespace := range namespaces {
		selected = append(selected, c.accounts.in(namespace, func(a *corev1.ServiceAccount) bool { return selects(g, a) })...)
	}
	return selected, nil
}

// End looks at all ServiceAccounts that a grant concerned, after it was taken
// out of the Book.
func (c *Controller) End(g *grant.Grant) {
	c.brought.end(g.Name)
	c.look(c.Board.Drop(g.Name), g.SecretName)
}

// look looks at places of the Board, and at the ServiceAccounts where a name is
// recorded, after everything that is urgent.
func (c *Controller) look(places []string, secretName string) {
	keys := c.accounts.recording(secretName)
	for _, place := range places {
		namespace, name, _ := strings.Cut(place, "/")
		keys = append(keys, types.NamespacedName{Namespace: namespace, Name: name})
	}
	c.queue.AddKeys(kube.Bulk, keys...)
}
