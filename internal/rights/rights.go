// Package rights knows the RBAC rules that the operator needs, for telling a
// person which one is missing.
package rights

import (
	"fmt"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// rbacRefusal is how the API server words that no RBAC rule allows a request;
// quota, admission and terminating namespaces answer 403 too, otherwise.
var rbacRefusal = regexp.MustCompile(`cannot (\w+) resource "([\w/]+)"`)

// Missing tells whether the API server refused a request because no
// RBAC rule allows it.
func Missing(err error) bool {
	return apierrors.IsForbidden(err) && rbacRefusal.MatchString(err.Error())
}

// Verbs that the operator needs on each kind of Secret.
var (
	sourceVerbs = []string{"get", "list", "watch"}
	targetVerbs = []string{"get", "list", "watch", "create", "patch", "delete"}
)

// ForSource returns the RBAC rule that lets the operator read a source Secret, as
// a person would add it to a Role in that namespace.
func ForSource(name string) string { return rule("secrets", sourceVerbs, name) }

// ForTarget returns the RBAC rule that lets the operator keep Secrets of a name,
// as a person would add it to a ClusterRole.
func ForTarget(name string) string { return rule("secrets", targetVerbs, name) }

// forTargets is the RBAC rule that lets the operator keep Secrets of any name.
var forTargets = fmt.Sprintf(`{apiGroups: [""], resources: [secrets], verbs: [%s]}`, strings.Join(targetVerbs, ", "))

// Mode says where the operator's rights are, for telling a person what to add to
// what. The zero value is that of rights in the whole cluster.
type Mode struct {
	// Namespaces: they are in single namespaces.
	Namespaces bool
	// Names: those on Secrets are on their names.
	Names bool
}

// Target returns the rule that lets the operator keep Secrets of a name: of any
// name, where they are watched by their label in a namespace.
func (m Mode) Target(name string) string {
	if m.Namespaces && !m.Names {
		return forTargets
	}
	return ForTarget(name)
}

// Role is what a right in a namespace is to be added to.
func (m Mode) Role(namespace string) string {
	if m.Namespaces && namespace != "" {
		return "a Role in namespace " + namespace
	}
	return "a ClusterRole"
}

// ForServiceAccount returns the RBAC rule that lets the operator see a
// ServiceAccount whose tokens it exchanges, as a person would add it to a Role
// in that namespace.
func ForServiceAccount(name string) string { return rule("serviceaccounts", sourceVerbs, name) }

// ForToken returns the RBAC rule that lets the operator mint tokens of a
// ServiceAccount, as a person would add it to a Role in that namespace.
func ForToken(name string) string { return rule("serviceaccounts/token", []string{"create"}, name) }

func rule(resource string, verbs []string, name string) string {
	return fmt.Sprintf(`{apiGroups: [""], resources: [%s], resourceNames: [%s], verbs: [%s]}`,
		resource, name, strings.Join(verbs, ", "))
}

// ForLeases is the RBAC rule that lets the operator keep leases, as a person
// would add it to a Role in the operator's own namespace.
const ForLeases = `{apiGroups: [""], resources: [secrets], ` +
	`resourceNames: [imagepullsecret-operator-leases-0, and so on to -31], verbs: [get, create, patch]}`

// ForPods is the RBAC rule that lets the operator watch Pods, which selectors
// on Pods take.
const ForPods = `{apiGroups: [""], resources: [pods], verbs: [list, watch]}`

// ForAttaching is the RBAC rule that lets the operator keep names in the
// imagePullSecrets of ServiceAccounts, as a person would add it to a
// ClusterRole.
const ForAttaching = `{apiGroups: [""], resources: [serviceaccounts], verbs: [get, list, watch, patch]}`

// The RBAC rules that recovery of Pods takes: watching what kubelets tell,
// reading the Pods that fail and their ServiceAccounts, and evicting.
const (
	ForPodEvents   = `{apiGroups: [""], resources: [events], verbs: [list, watch]}`
	ForPod         = `{apiGroups: [""], resources: [pods], verbs: [get]}`
	ForPodsAccount = `{apiGroups: [""], resources: [serviceaccounts], verbs: [get]}`
	ForEviction    = `{apiGroups: [""], resources: [pods/eviction], verbs: [create]}`
)
