package podrecovery

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/grant"
)

// observation is everything that a verdict on one Pod depends on.
type observation struct {
	Pod *corev1.Pod
	// Claims are the Secrets that Pods of the namespace may be evicted for.
	Claims []claim
	// Injection: new Pods get the names of the Secrets into their own list.
	Injection bool
	// Injected are the names of all Secrets that Pods of the namespace get so,
	// whether they may be evicted for them or not.
	Injected []string
	// Account is the Pod's ServiceAccount, if needsAccount says so; nil if
	// there is none.
	Account *corev1.ServiceAccount
	// AccountWaits counts the looks that found the ServiceAccount without the
	// name that it is to get.
	AccountWaits int
	// Evicted tells, for the Pod's controller, when the first of its Pods was
	// evicted for a Secret: by the Secret's name.
	Evicted map[string]time.Time
	// Gone: this very Pod was evicted.
	Gone bool
}

// claim is a Secret that a grant keeps in the Pod's namespace, or will.
type claim struct {
	Grant *grant.Grant
	// Logins are what it holds, or will.
	Logins dockerconfig.Logins
	// Stands: the Secret is there.
	Stands bool
}

// action is what is to be done about one Pod.
type action int

const (
	// skip it: an eviction would not help it.
	skip action = iota + 1
	// wait, and look again.
	wait
	// evict it.
	evict
)

// verdict says what is to be done about one Pod, and why.
type verdict struct {
	Action action
	// Why says in a few words why this action.
	Why string
	// Grant is the one whose Secret this is about; nil if it is about none.
	Grant *grant.Grant
	// Image is the one that can't be pulled.
	Image string
	// ForAccount: it is the ServiceAccount that is waited for.
	ForAccount bool
	// Again: a Pod of the same controller was evicted in vain.
	Again bool
}

// accountPatience is how many looks a ServiceAccount is given to get a name
// that it is to get: half a minute, by the growing waits between them.
const accountPatience = 5

// decide says what to do about a Pod: the best of what each Secret allows, where
// to evict is better than to wait, and to wait is better than to skip.
func decide(o observation) verdict {
	if why := outOfReach(o); why != "" {
		return verdict{Action: skip, Why: why}
	}
	images := failingImages(o.Pod)
	if len(images) == 0 {
		return verdict{Action: skip, Why: "no container waits for an image that can't be pulled"}
	}
	best := verdict{Action: skip, Image: images[0], Why: "no Secret that the Pod lacks has a login for what it can't pull"}
	for _, c := range o.Claims {
		if !lacks(o.Pod, c.Grant.SecretName) {
			continue
		}
		v := judge(o, c, images)
		if v.Action > best.Action || (best.Grant == nil && v.Grant != nil) {
			best = v
		}
	}
	return best
}

// outOfReach says why a Pod is none that could be made anew and pull then; "" if
// it is one.
func outOfReach(o observation) string {
	_, mirror := o.Pod.Annotations[corev1.MirrorPodAnnotationKey]
	owner := metav1.GetControllerOf(o.Pod)
	switch {
	case o.Gone:
		return "it was evicted"
	case !o.Pod.DeletionTimestamp.IsZero():
		return "it is being deleted"
	case o.Pod.Status.Phase == corev1.PodSucceeded, o.Pod.Status.Phase == corev1.PodFailed:
		return "it is finished"
	case mirror, owner != nil && owner.Kind == "Node":
		return "it is a static Pod, which its node keeps"
	default:
		return ""
	}
}

// failingImages returns the images of the containers that can't be started
// since an image can't be pulled: the container's own, and those of volumes that
// it mounts, as its status does not tell which. Ephemeral containers don't
// count, for they would be lost.
func failingImages(pod *corev1.Pod) []string {
	failing := map[string]bool{}
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if waiting := status.State.Waiting; waiting != nil && (waiting.Reason == "ErrImagePull" || waiting.Reason == "ImagePullBackOff") {
			failing[status.Name] = true
		}
	}
	var images []string
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if !failing[container.Name] {
			continue
		}
		images = append(images, container.Image)
		for _, volume := range pod.Spec.Volumes {
			mounts := func(m corev1.VolumeMount) bool { return m.Name == volume.Name }
			if volume.Image != nil && slices.ContainsFunc(container.VolumeMounts, mounts) {
				images = append(images, volume.Image.Reference)
			}
		}
	}
	return images
}

func lacks(pod *corev1.Pod, secretName string) bool {
	return !lists(pod.Spec.ImagePullSecrets, secretName)
}

func lists(references []corev1.LocalObjectReference, name string) bool {
	return slices.Contains(references, corev1.LocalObjectReference{Name: name})
}

// judge says what one Secret, which a Pod lacks, allows to do about the Pod:
//
//	content unknown                       wait
//	no login for what fails               skip
//	nobody makes the Pod anew             skip, unless by EvictAll
//	one of its kind was evicted before    skip
//	a new one would not get the name      skip
//	                 would get it soon    wait
//	the Secret is not there yet           wait
//	else                                  evict
func judge(o observation, c claim, images []string) verdict {
	g := c.Grant
	about := func(a action, why string, image string) verdict {
		return verdict{Action: a, Why: why, Grant: g, Image: image}
	}
	if g.Content == nil {
		return about(wait, fmt.Sprintf("the content of Secret %s is not known yet", g.SecretName), images[0])
	}
	helped := slices.IndexFunc(images, c.Logins.Match)
	if helped < 0 {
		return verdict{Action: skip, Why: fmt.Sprintf("Secret %s has no login for what it can't pull", g.SecretName)}
	}
	image := images[helped]
	if metav1.GetControllerOf(o.Pod) == nil && g.Recovery != v1alpha1.RecoveryEvictAll {
		return about(skip, "no controller would make it anew", image)
	}
	if at, known := o.Evicted[g.SecretName]; known && !o.Pod.CreationTimestamp.Time.Before(at.Truncate(time.Second)) {
		v := about(skip, fmt.Sprintf("it came after another one of its controller was evicted, at %s, and lacks Secret %s as well",
			at.UTC().Format(time.RFC3339), g.SecretName), image)
		v.Again = true
		return v
	}
	if a, why := replacement(o, g); a != evict {
		v := about(a, why, image)
		v.ForAccount = a == wait
		return v
	}
	if !c.Stands {
		return about(wait, fmt.Sprintf("Secret %s is not there yet", g.SecretName), image)
	}
	return about(evict, fmt.Sprintf("a new one can pull with Secret %s", g.SecretName), image)
}

// replacement says whether a Pod that is made in place of this one gets the
// name of a grant's Secret: evict if so; else wait or skip, and why.
func replacement(o observation, g *grant.Grant) (a action, why string) {
	if injects(o, g) {
		return evict, ""
	}
	name := o.Pod.Spec.ServiceAccountName
	switch account := o.Account; {
	case account == nil:
		return skip, fmt.Sprintf("ServiceAccount %s does not exist, so that a new one could not be made", name)
	case !inherited(o, g.SecretName):
		return skip, "its imagePullSecrets are its own, and a new one would have the same"
	case lists(account.ImagePullSecrets, g.SecretName):
		return evict, ""
	case g.Accounts.HasRules() && o.AccountWaits < accountPatience:
		return wait, fmt.Sprintf("ServiceAccount %s does not carry the name %s yet", name, g.SecretName)
	default:
		return skip, fmt.Sprintf("a new one would not get the name %s: nothing injects it, and ServiceAccount %s does not carry it", g.SecretName, name)
	}
}

func injects(o observation, g *grant.Grant) bool {
	return o.Injection && g.Pods == v1alpha1.PodsInject
}

// inherited tells whether a Pod's imagePullSecrets came from its ServiceAccount,
// whose list reaches only Pods without one: but for injected names, the Pod has
// none, or those of the account without names that the account may have got
// since.
func inherited(o observation, secretName string) bool {
	others := func(references []corev1.LocalObjectReference, not func(name string) bool) []corev1.LocalObjectReference {
		return slices.DeleteFunc(slices.Clone(references), func(reference corev1.LocalObjectReference) bool {
			return slices.Contains(o.Injected, reference.Name) || not(reference.Name)
		})
	}
	late := append(strings.Split(o.Account.Annotations[v1alpha1.AnnotationAttached], ","), secretName)
	has := others(o.Pod.Spec.ImagePullSecrets, func(string) bool { return false })
	had := others(o.Account.ImagePullSecrets, func(name string) bool {
		return slices.Contains(late, name) && lacks(o.Pod, name)
	})
	return len(has) == 0 || slices.Equal(had, has)
}

// needsAccount tells whether a verdict depends on the Pod's ServiceAccount.
func needsAccount(o observation) bool {
	if outOfReach(o) != "" {
		return false
	}
	images := failingImages(o.Pod)
	return slices.ContainsFunc(o.Claims, func(c claim) bool {
		return lacks(o.Pod, c.Grant.SecretName) && slices.ContainsFunc(images, c.Logins.Match) && !injects(o, c.Grant)
	})
}
