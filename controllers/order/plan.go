package order

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/rights"
	"github.com/imagepullsecrets/operator/internal/selector"
)

// translate makes an order's grant, without content, and says what of its
// target can't be carried out. Rules for Pods are left out unless withPods.
func translate(order *Order, withPods bool) (*grant.Grant, []string) {
	object, target := order.Object, order.Object.Spec.Target
	if !withPods {
		target.NamespacesWithPods = v1alpha1.PodSelector{}
	}
	selection, errs := selector.Compile(target)
	accounts, accountErrs := selector.CompileAccounts(target.ServiceAccounts)
	errs = append(errs, accountErrs...)
	problems := make([]string, len(errs))
	for i, err := range errs {
		problems[i] = err.Error()
	}
	return &grant.Grant{
		Name:            object.Name,
		Asker:           order.Asker,
		UID:             object.UID,
		Owner:           order.Owner,
		Namespace:       order.Namespace,
		CreatedAt:       object.CreationTimestamp,
		Generation:      object.Generation,
		Suspended:       object.Spec.Suspend,
		Selection:       selection,
		Accounts:        accounts,
		SecretName:      target.Secret.Name,
		Labels:          plain(target.Secret.Labels),
		Annotations:     plain(target.Secret.Annotations),
		ConflictPolicy:  target.ConflictPolicy,
		DeletionPolicy:  target.DeletionPolicy,
		InPlace:         order.InPlace,
		Inherits:        order.Inherits,
		InheritsEntries: order.InheritsEntries,
		NameField:       cmp.Or(order.NameField, "spec.target.secret.name"),
		Pods:            cmp.Or(target.Pods, v1alpha1.PodsInject),
		Recovery:        cmp.Or(target.PodRecovery, v1alpha1.RecoveryEvict), // of objects that were stored without
	}, problems
}

// annotateExpiry lets g's Secrets tell when their login expires, where the order
// wants that and it is known.
func annotateExpiry(g *grant.Grant, order *Order, at string) {
	if order.ExpiryAnnotation != "" && at != "" {
		g.Annotations[order.ExpiryAnnotation] = at
	}
}

// plain returns a map of API strings as one of plain strings.
func plain[S ~string](values map[string]S) map[string]string {
	plain := make(map[string]string, len(values))
	for key, value := range values {
		plain[key] = string(value)
	}
	return plain
}

// content returns what g's Secrets are to hold: document, which is made of the
// logins of sources, and a hash with key over everything that is written, so
// that equal hashes mean equal Secrets.
func content(g *grant.Grant, document, key []byte, sources []string) *grant.Content {
	hash := hmac.New(sha256.New, key)
	// Maps are encoded in order of their keys; strings always can be.
	_ = json.NewEncoder(hash).Encode([]any{document, g.Labels, g.Annotations})
	return &grant.Content{DockerConfigJSON: document, Hash: hex.EncodeToString(hash.Sum(nil)[:16]), Sources: sources}
}

// genuine tells whether a document and the annotations of a Secret are as they
// were written for an order that is the same as now: nobody else has the key of
// the hash.
func genuine(order *Order, document []byte, annotations map[string]string, key []byte) bool {
	g, _ := translate(order, true)
	annotateExpiry(g, order, annotations[order.ExpiryAnnotation])
	return content(g, document, key, nil).Hash == annotations[v1alpha1.AnnotationContentHash]
}

// refusedName says why the operator does not keep Secrets of a name, if it
// was told to keep those of certain names only; "" if it does.
func (c Config) refusedName(name string) string {
	if len(c.TargetNames) == 0 || slices.Contains(c.TargetNames, name) {
		return ""
	}
	role := "its ClusterRole"
	if c.Rights.Namespaces {
		role = "its Roles"
	}
	return fmt.Sprintf("this operator keeps only Secrets named %s, and %q is not among them: "+
		"add it to --target-secret-names (chart: rbac.targetSecretNames), and to %s the rule %s",
		strings.Join(c.TargetNames, ", "), name, role, rights.ForTarget(name))
}
