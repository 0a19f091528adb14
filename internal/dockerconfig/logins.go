// Package dockerconfig reads, merges and writes registry logins in the form
// of a dockerconfigjson, under the kubelet's own rules.
package dockerconfig

// Login is a user name and password for a registry.
type Login struct {
	Username string
	Password string
}

// String hides the password, so that a Login may be printed by mistake.
func (l Login) String() string { return l.Username + ":***" }

// GoString hides the password under %#v too.
func (l Login) GoString() string { return l.String() }

// Logins are logins by registry key, the key as it stands in a
// dockerconfigjson's auths: a host, optionally with port, path or scheme.
type Logins map[string]Login
