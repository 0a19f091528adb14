package serviceaccount

import (
	corev1 "k8s.io/api/core/v1"
)

// Detached returns what becomes of a ServiceAccount's imagePullSecrets, and of
// the annotation that records which of them are the operator's, where nobody
// asks for anything any more: recorded names go, except for those of Secrets
// that are retained. change is false if it is so already.
func Detached(account *corev1.ServiceAccount, retained map[string]bool) (secrets []corev1.LocalObjectReference, attached string, change bool) {
	p := decide(observation{Secrets: account.ImagePullSecrets, Recorded: Recorded(account.Annotations), Retained: retained})
	return p.Secrets, record(p.Recorded), p.Change
}
