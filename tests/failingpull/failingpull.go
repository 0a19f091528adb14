// Package failingpull does the kubelet's part when an image can't be pulled,
// where there are no nodes: it tells in Events, and then in the Pod's status.
package failingpull

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Tell does what the kubelet does when the image of a Pod's container, which
// may be an init container, can't be pulled. From Kubernetes 1.37,
// pkg/kubelet/images/image_manager.go:
//
//	m.logIt(logger, objRef, v1.EventTypeWarning, events.FailedToPullImage, logPrefix, fmt.Sprintf("Failed to pull image %q: %v", image, imagePullResult.err))
//
// pkg/kubelet/kuberuntime/kuberuntime_container.go:
//
//	m.recordContainerEvent(ctx, pod, container, "", v1.EventTypeWarning, events.FailedToCreateContainer, "Error: %v", s.Message())
//
// pkg/kubelet/events/event.go, which are core/v1 Events:
//
//	FailedToCreateContainer = "Failed"
//	FailedToPullImage       = "Failed"
//
// pod becomes what the API server answers. Errors are the API server's.
func Tell(ctx context.Context, c client.Client, pod *corev1.Pod, container string) error {
	image, field := imageOf(pod, container)
	if err := tell(ctx, c, pod, field, fmt.Sprintf("Failed to pull image %q: failed to authorize: 401 Unauthorized", image)); err != nil {
		return err
	}
	if err := tell(ctx, c, pod, field, "Error: ErrImagePull"); err != nil {
		return err
	}
	before := pod.DeepCopy()
	setStatus(pod, container, image)
	return c.Status().Patch(ctx, pod, client.MergeFrom(before))
}

// TellAgain does what the kubelet does again and again of a Pod that it has told
// of. Errors are the API server's.
func TellAgain(ctx context.Context, c client.Client, pod *corev1.Pod, container string) error {
	_, field := imageOf(pod, container)
	return tell(ctx, c, pod, field, "Error: ImagePullBackOff")
}

// imageOf returns the image of a container, and the path by which Events name
// the container.
func imageOf(pod *corev1.Pod, container string) (image, field string) {
	for _, c := range pod.Spec.InitContainers {
		if c.Name == container {
			return c.Image, "spec.initContainers{" + container + "}"
		}
	}
	for _, c := range pod.Spec.Containers {
		if c.Name == container {
			image = c.Image
		}
	}
	return image, "spec.containers{" + container + "}"
}

// setStatus makes a Pod's status that of a Pod one of whose containers waits for
// its image: the Pod is Pending, unless another container runs.
func setStatus(pod *corev1.Pod, container, image string) {
	reason := corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: fmt.Sprintf("Back-off pulling image %q: ErrImagePull: 401 Unauthorized", image)}
	pod.Status.Phase = corev1.PodPending
	pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses = nil, nil
	initialising := false
	for _, c := range pod.Spec.InitContainers {
		initialising = initialising || c.Name == container
		pod.Status.InitContainerStatuses = append(pod.Status.InitContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, State: corev1.ContainerState{Waiting: reason.DeepCopy()},
		})
	}
	for _, c := range pod.Spec.Containers {
		status := corev1.ContainerStatus{Name: c.Name, Image: c.Image}
		switch {
		case initialising:
			status.State.Waiting = &corev1.ContainerStateWaiting{Reason: "PodInitializing"}
		case c.Name == container:
			status.State.Waiting = reason.DeepCopy()
		default:
			status.State.Running, status.Ready = &corev1.ContainerStateRunning{StartedAt: metav1.Now()}, true
			pod.Status.Phase = corev1.PodRunning
		}
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, status)
	}
}

// tell writes an Event as a kubelet's recorder does.
func tell(ctx context.Context, c client.Client, pod *corev1.Pod, field, message string) error {
	now := metav1.Now()
	return c.Create(ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: fmt.Sprintf("%s.%x", pod.Name, time.Now().UnixNano())},
		InvolvedObject: corev1.ObjectReference{
			Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, APIVersion: "v1",
			ResourceVersion: pod.ResourceVersion, FieldPath: field,
		},
		Type: corev1.EventTypeWarning, Reason: "Failed", Message: message,
		Source:         corev1.EventSource{Component: "kubelet", Host: pod.Spec.NodeName},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	})
}
