package imagepullsecret

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// gatherOutcomes is how long changes of outcomes are gathered before they are
// told in a status.
const gatherOutcomes = 250 * time.Millisecond

// SecretChanged wakes the objects that use a source Secret.
func (c *Controller) SecretChanged(ref types.NamespacedName) {
	c.enqueue(0, c.Secrets.UsersOf(ref)...)
}

// AccountChanged wakes the objects that use a ServiceAccount's tokens.
func (c *Controller) AccountChanged(ref types.NamespacedName) {
	c.enqueue(0, c.Accounts.UsersOf(ref)...)
}

// LeaseChanged wakes the objects that use a lease, or all for the key "".
func (c *Controller) LeaseChanged(key string) {
	c.enqueue(0, c.memory.usersOf(key)...)
}

// OutcomeChanged wakes an object some of whose Secrets changed.
func (c *Controller) OutcomeChanged(name string) {
	c.enqueue(gatherOutcomes, name)
}

func (c *Controller) enqueue(after time.Duration, names ...string) {
	for _, name := range names {
		c.queue.Add(priorityqueue.AddOpts{After: after}, reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
	}
}

// announcement is an event to be.
type announcement struct {
	Type, Reason, Note string
}

// longestNote is what the API server takes for an event's note.
const longestNote = 1024

// changes are what is worth an event in a status that follows another.
func changes(before, after v1alpha1.ImagePullSecretStatus) []announcement {
	var all []announcement
	ready := meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionReady)
	was := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionReady)
	if was == nil || was.Status != ready.Status || was.Reason != ready.Reason {
		all = append(all, announce(ready.Status != metav1.ConditionFalse, ready.Reason, ready.Message))
	}
	known := map[string]v1alpha1.CredentialStatus{}
	for _, c := range before.Credentials {
		known[c.Name] = c
	}
	for _, c := range after.Credentials {
		// What is well and was not ill before is told by Ready.
		if old := known[c.Name]; old.Reason != c.Reason && !(fine(c) && (old.Reason == "" || fine(old))) {
			all = append(all, announce(fine(c), c.Reason, c.Name+": "+describe(c)))
		}
	}
	return all
}

func announce(normal bool, reason, note string) announcement {
	kind := corev1.EventTypeWarning
	if normal {
		kind = corev1.EventTypeNormal
	}
	return announcement{Type: kind, Reason: reason, Note: cut(note, longestNote)}
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

// Start takes the controller's queue; it is a source of the controller.
func (c *Controller) Start(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	return c.queue.Start(ctx, queue)
}
