package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/controllers/order"
)

// newStanding returns the order of a subcommand that keeps one Secret without
// any object in the cluster. distinct is what tells it from others of the same
// subcommand: Secrets are labelled by it, in place of an object's UID.
func newStanding(subcommand, distinct string, spec v1alpha1.ImagePullSecretSpec) *order.Order {
	sum := sha256.Sum256([]byte(distinct))
	return &order.Order{
		Object: &v1alpha1.ImagePullSecret{
			ObjectMeta: metav1.ObjectMeta{Name: subcommand, UID: types.UID(subcommand + "-" + hex.EncodeToString(sum[:8]))},
			Spec:       spec,
		},
		Asker: "the " + subcommand, NameField: "the command line",
	}
}

// checkSecretName says what is wrong with the name of a Secret.
func checkSecretName(flag, name string) error {
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return fmt.Errorf("--%s: %q is not the name of a Secret: %s", flag, name, problems[0])
	}
	return nil
}

// listed splits a list at its commas and leaves out what is empty.
func listed(text string) []string {
	var values []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			values = append(values, part)
		}
	}
	return values
}
