package serviceaccount

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

func TestOnlyRecordedNamesAreDetached(t *testing.T) {
	references := func(names ...string) (all []corev1.LocalObjectReference) {
		for _, name := range names {
			all = append(all, corev1.LocalObjectReference{Name: name})
		}
		return all
	}
	for sentence, test := range map[string]struct {
		secrets  []corev1.LocalObjectReference
		recorded string
		retained map[string]bool
		want     []corev1.LocalObjectReference
		record   string
		change   bool
	}{
		"nothing is recorded":                      {secrets: references("mine"), want: references("mine")},
		"a recorded name goes, others stay":        {references("mine", "pull"), "pull", nil, references("mine"), "", true},
		"a retained name stays, with its record":   {references("pull"), "pull", map[string]bool{"pull": true}, references("pull"), "pull", false},
		"of two, the one that is not retained":     {references("a", "b"), "b,a", map[string]bool{"a": true}, references("a"), "a", true},
		"a record without its entry goes too":      {references("mine"), "pull", nil, references("mine"), "", true},
		"an entry of the same name, of the others": {references("pull", "pull"), "pull", nil, references("pull"), "", true},
	} {
		t.Run(sentence, func(t *testing.T) {
			account := &corev1.ServiceAccount{
				ObjectMeta:       metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.AnnotationAttached: test.recorded}},
				ImagePullSecrets: test.secrets,
			}
			secrets, record, change := Detached(account, test.retained)
			if diff := cmp.Diff(test.want, secrets); diff != "" {
				t.Errorf("imagePullSecrets (-want +got):\n%s", diff)
			}
			if record != test.record || change != test.change {
				t.Errorf("got record %q, change %t", record, change)
			}
		})
	}
}
