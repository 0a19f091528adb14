package order

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// Announcement is an event to be.
type Announcement struct {
	Type, Reason, Note string
}

// longestNote is what the API server takes for an event's note.
const longestNote = 1024

// Changes are what is worth an event in a status that follows another.
func Changes(before, after v1alpha1.ImagePullSecretStatus) []Announcement {
	var all []Announcement
	ready := meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionReady)
	was := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionReady)
	if was == nil || was.Status != ready.Status || was.Reason != ready.Reason {
		all = append(all, Announce(ready.Status != metav1.ConditionFalse, ready.Reason, ready.Message))
	}
	known := map[string]v1alpha1.CredentialStatus{}
	for _, c := range before.Credentials {
		known[c.Name] = c
	}
	for _, c := range after.Credentials {
		// What is well and was not ill before is told by Ready.
		if old := known[c.Name]; old.Reason != c.Reason && !(fine(c) && (old.Reason == "" || fine(old))) {
			all = append(all, Announce(fine(c), c.Reason, c.Name+": "+describe(c)))
		}
	}
	return all
}

// Announce returns an event whose note is cut to what the API server takes.
func Announce(normal bool, reason, note string) Announcement {
	kind := corev1.EventTypeWarning
	if normal {
		kind = corev1.EventTypeNormal
	}
	return Announcement{Type: kind, Reason: reason, Note: cut(note, longestNote)}
}

func fine(c v1alpha1.CredentialStatus) bool {
	switch c.Reason {
	case v1alpha1.ReasonReady, v1alpha1.ReasonShadowed, v1alpha1.ReasonProgressing:
		return true
	default:
		return false
	}
}

func describe(c v1alpha1.CredentialStatus) string {
	if c.Message != "" {
		return c.Message
	}
	return "gives valid logins"
}
