package order

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// An object may go and come back between two looks at it.
func TestAnObjectThatWasMadeAnewWasToldNothing(t *testing.T) {
	var told Told
	o := &Order{Object: &v1alpha1.ImagePullSecret{ObjectMeta: metav1.ObjectMeta{Name: "asking", UID: "first"}}}
	o.Object.Spec.Target.Secret.Name = "pull"
	told.Note(o, v1alpha1.ImagePullSecretStatus{ObservedGeneration: 7})
	for sentence, test := range map[string]struct {
		secret string
		uid    types.UID
		want   int64
	}{
		"of the same object and Secret": {"pull", "first", 7},
		"of an object made anew":        {"pull", "second", 0},
		"of another Secret":             {"other", "first", 0},
	} {
		t.Run(sentence, func(t *testing.T) {
			status, known := told.Last("asking", test.secret, test.uid)
			if status.ObservedGeneration != test.want || !known {
				t.Errorf("the status of generation %d was told, known: %t; want that of %d", status.ObservedGeneration, known, test.want)
			}
		})
	}
}
