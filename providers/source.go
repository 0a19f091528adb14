package providers

import "github.com/imagepullsecrets/operator/internal/dockerconfig"

// Source is what one configured credential amounts to: logins that are known
// at once, or a Provider that must be asked for them.
type Source struct {
	// Name is the provider's name, "static" for logins that are known.
	Name string
	// Provider is to be asked; nil for logins that are known.
	Provider Provider
	// Logins are those that are known; nil if Provider is set.
	Logins dockerconfig.Logins
	// Problems are logins that were left out, and why.
	Problems []dockerconfig.Problem
}
