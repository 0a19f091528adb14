package order

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// source is one entry of spec.registry.credentials.
type source struct {
	Entry v1alpha1.CredentialSource
	// ID is the same for as long as the entry says the same: what one entry
	// gave is never taken for what another would.
	ID string
	// Name is what people call it: <namespace>/<name> of its Secret, or the
	// entry's place in the spec, such as credentials[2].ecr.
	Name string
	// Secret is the Secret that it needs, be it all there is to it or what a
	// provider shows itself with; nil if none.
	Secret *types.NamespacedName
	// Placed: Name is the whole of what tells where the source stands.
	Placed bool
	// Account is the ServiceAccount that has to be watched for it; nil if none.
	Account *types.NamespacedName
}

// isSecret tells whether the source is a Secret rather than a provider.
func (s source) isSecret() bool { return s.Entry.Name != "" }

// provider is the provider's name, as far as the entry tells; the type of a
// Secret decides otherwise.
func (s source) provider() string {
	if s.isSecret() {
		return ""
	}
	return s.Entry.Kind()
}

// called is what the source is called in a sentence.
func (s source) called() string {
	if s.isSecret() && !s.Placed {
		return "Secret " + s.Name
	}
	return s.path()
}

// path is where the source stands in what people wrote.
func (s source) path() string {
	if s.Placed {
		return s.Name
	}
	return "spec.registry." + s.Name
}

func sourcesOf(order *Order) []source {
	entries := order.Object.Spec.Registry.Credentials
	sources := make([]source, len(entries))
	for i, entry := range entries {
		s := source{Entry: entry}
		if s.isSecret() {
			ref := types.NamespacedName{Namespace: entry.Namespace, Name: entry.Name}
			s.ID, s.Name = ref.String(), ref.String()
			if order.Secret == nil {
				s.Secret = &ref
			}
		} else {
			s.ID, s.Name = identify(entry), fmt.Sprintf("credentials[%d].%s", i, entry.Kind())
		}
		if order.Place != "" {
			s.Name, s.Placed = order.Place, true
		}
		if key := entry.ClientSecret(); key != nil {
			s.Secret = &types.NamespacedName{Namespace: key.Namespace, Name: key.Name}
		}
		if account := entry.Account(); account != nil && order.Account == nil {
			s.Account = &types.NamespacedName{Namespace: account.Namespace, Name: account.Name}
		}
		sources[i] = s
	}
	return sources
}

// identify returns the ID of a provider's entry, which no Secret has.
func identify(entry v1alpha1.CredentialSource) string {
	text, _ := json.Marshal(entry) // plain data always can be
	sum := sha256.Sum256(text)
	return entry.Kind() + ":" + hex.EncodeToString(sum[:16])
}

// secretsOf are the Secrets that sources need.
func secretsOf(sources []source) []types.NamespacedName {
	var refs []types.NamespacedName
	for _, s := range sources {
		if s.Secret != nil {
			refs = append(refs, *s.Secret)
		}
	}
	return refs
}

// accountsOf are the ServiceAccounts that sources need.
func accountsOf(sources []source) []types.NamespacedName {
	var refs []types.NamespacedName
	for _, s := range sources {
		if s.Account != nil {
			refs = append(refs, *s.Account)
		}
	}
	return refs
}

// idsOf are the sources' IDs.
func idsOf(sources []source) []string {
	ids := make([]string, len(sources))
	for i, s := range sources {
		ids[i] = s.ID
	}
	return ids
}
