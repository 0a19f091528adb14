package podrecovery

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/selector"
)

// noon is when Pods of the tests were made.
var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// stuck is a Pod of a ReplicaSet that can't pull reg.io/team/app.
func stuck(changes ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "team-a", Name: "app-1", UID: "pod-uid", CreationTimestamp: metav1.NewTime(noon),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "app", UID: "rs-uid", Controller: new(true)}},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName: "default",
			Containers:         []corev1.Container{{Name: "app", Image: "reg.io/team/app:v1"}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{waiting("app", "ImagePullBackOff")}},
	}
	for _, change := range changes {
		change(pod)
	}
	return pod
}

// waiting is the status of a container that waits for a reason.
func waiting(name, reason string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}
}

func running(name string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
}

// granted is a Secret named pull with a login for reg.io, that stands.
func granted(changes ...func(*claim)) claim {
	c := claim{
		Grant: &grant.Grant{
			Name: "corp", UID: "imps-uid", Owner: &metav1.OwnerReference{Kind: "ImagePullSecret", Name: "corp", UID: "imps-uid"}, SecretName: "pull", Content: &grant.Content{},
			Pods: v1alpha1.PodsInject, Recovery: v1alpha1.RecoveryEvict,
		},
		Logins: dockerconfig.Logins{"reg.io": {Username: "ada", Password: "pw"}},
		Stands: true,
	}
	for _, change := range changes {
		change(&c)
	}
	return c
}

// account is a ServiceAccount that carries names, and which of them were
// attached by the operator.
func account(attached string, names ...string) *corev1.ServiceAccount {
	made := &corev1.ServiceAccount{}
	if attached != "" {
		made.Annotations = map[string]string{v1alpha1.AnnotationAttached: attached}
	}
	made.ImagePullSecrets = references(names...)
	return made
}

func references(names ...string) []corev1.LocalObjectReference {
	var all []corev1.LocalObjectReference
	for _, name := range names {
		all = append(all, corev1.LocalObjectReference{Name: name})
	}
	return all
}

// Changes of a Pod.
func own(names ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.ImagePullSecrets = references(names...) }
}

func phase(phase corev1.PodPhase, statuses ...corev1.ContainerStatus) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Phase, p.Status.ContainerStatuses = phase, statuses }
}

func bare(p *corev1.Pod) { p.OwnerReferences = nil }

// initFails makes an init container of a restart policy fail for want of its
// image; the Pod's other container waits for it.
func initFails(image string, policy *corev1.ContainerRestartPolicy) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.InitContainers = []corev1.Container{{Name: "init", Image: image, RestartPolicy: policy}}
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{waiting("init", "ErrImagePull")}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{waiting("app", "PodInitializing")}
	}
}

// Changes of a claim.
func absent(c *claim)   { c.Stands = false }
func unknown(c *claim)  { c.Grant.Content, c.Logins = nil, nil }
func evictAll(c *claim) { c.Grant.Recovery = v1alpha1.RecoveryEvictAll }
func noPods(c *claim)   { c.Grant.Pods = v1alpha1.PodsNone }

// everyAccount selects every ServiceAccount.
func everyAccount() selector.Accounts {
	all, _ := selector.CompileAccounts(v1alpha1.ServiceAccountSelector{Names: []string{"*"}})
	return all
}

func attaches(c *claim) { c.Grant.Accounts = everyAccount() }
func called(name string, registries ...string) func(*claim) {
	return func(c *claim) {
		c.Grant.SecretName, c.Logins = name, dockerconfig.Logins{}
		for _, registry := range registries {
			c.Logins[registry] = dockerconfig.Login{Username: "ada", Password: "pw"}
		}
	}
}

// one is an observation of a Pod and a Secret, with a ServiceAccount that
// carries the Secret's name.
func one(pod *corev1.Pod, c claim) observation {
	return observation{Pod: pod, Claims: []claim{c}, Account: account("pull", "pull")}
}

func with(o observation, change func(*observation)) observation {
	change(&o)
	return o
}

func TestDecide(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	injected := func(o *observation) { o.Injection, o.Account = true, nil }
	inAccount := func(a *corev1.ServiceAccount) func(*observation) {
		return func(o *observation) { o.Account = a }
	}
	evictedAt := func(at time.Time) func(*observation) {
		return func(o *observation) { o.Evicted = map[string]time.Time{"pull": at} }
	}
	cases := map[string]struct {
		observation
		action action
		why    string
	}{
		"a Pod that a new one could replace is evicted":        {one(stuck(), granted()), evict, "can pull with Secret pull"},
		"so is one that has just failed":                       {one(stuck(phase(corev1.PodPending, waiting("app", "ErrImagePull"))), granted()), evict, ""},
		"a running Pod with a container that can't pull, too":  {one(stuck(phase(corev1.PodRunning, running("side"), waiting("app", "ImagePullBackOff"))), granted()), evict, ""},
		"an init container counts":                             {one(stuck(initFails("reg.io/init", nil)), granted()), evict, ""},
		"a sidecar counts":                                     {one(stuck(initFails("reg.io/side", &always)), granted()), evict, ""},
		"the image of the container that fails counts":         {one(stuck(initFails("other.io/init", nil)), granted()), skip, "no Secret that the Pod lacks has a login"},
		"a volume's image counts":                              {one(stuck(imageVolume("reg.io/models")), granted()), evict, ""},
		"one that the container does not mount does not":       {one(stuck(imageVolume("reg.io/models"), func(p *corev1.Pod) { p.Spec.Containers[0].VolumeMounts = nil }), granted()), skip, "no Secret"},
		"an ephemeral container does not count":                {one(stuck(ephemeralFails), granted()), skip, "no container waits"},
		"a container that waits for something else":            {one(stuck(phase(corev1.PodPending, waiting("app", "ContainerCreating"))), granted()), skip, "no container waits"},
		"a finished Pod is left":                               {one(stuck(phase(corev1.PodSucceeded, waiting("app", "ErrImagePull"))), granted()), skip, "finished"},
		"a failed one is, too":                                 {one(stuck(phase(corev1.PodFailed, waiting("app", "ErrImagePull"))), granted()), skip, "finished"},
		"one that is being deleted is left":                    {one(stuck(func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: noon} }), granted()), skip, "being deleted"},
		"a node's own Pod is left":                             {one(stuck(func(p *corev1.Pod) { p.OwnerReferences[0].Kind = "Node" }), granted()), skip, "static"},
		"so is one that only says so":                          {one(stuck(func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }), granted(evictAll)), skip, "static"},
		"a Pod that was evicted is not evicted again":          {with(one(stuck(), granted()), func(o *observation) { o.Gone = true }), skip, "was evicted"},
		"a Pod that lists the name already is left":            {one(stuck(own("pull")), granted()), skip, "no Secret that the Pod lacks"},
		"a Secret for another registry does not help":          {one(stuck(), granted(called("pull", "other.io"))), skip, "no Secret that the Pod lacks"},
		"nor does one for another path":                        {one(stuck(), granted(called("pull", "reg.io/other"))), skip, "no Secret that the Pod lacks"},
		"without any Secret nothing happens":                   {observation{Pod: stuck()}, skip, "no Secret that the Pod lacks"},
		"credentials that are not known yet are waited for":    {one(stuck(), granted(unknown)), wait, "content of Secret pull is not known"},
		"a Secret that is not there yet is waited for":         {one(stuck(), granted(absent)), wait, "Secret pull is not there yet"},
		"a bare Pod is left":                                   {one(stuck(bare), granted()), skip, "no controller"},
		"a bare Pod is evicted by EvictAll":                    {one(stuck(bare), granted(evictAll)), evict, ""},
		"a bare Pod is left by EvictAll if it would not help":  {with(one(stuck(bare), granted(evictAll)), inAccount(account(""))), skip, "would not get the name"},
		"with injection the ServiceAccount does not matter":    {with(one(stuck(), granted()), injected), evict, ""},
		"with injection the Pod's own list does not matter":    {with(one(stuck(own("mine")), granted()), injected), evict, ""},
		"injection that the grant does not want does not help": {with(one(stuck(), granted(noPods)), func(o *observation) { o.Injection, o.Account = true, account("") }), skip, "would not get the name pull"},
		"an own list is kept by the new Pod, so it is left":    {one(stuck(own("mine")), granted()), skip, "its own"},
		"a list like the account's own is the account's": {
			with(one(stuck(own("first", "second")), granted()), inAccount(account("pull", "first", "second", "pull"))), evict, ""},
		"one in another order is not": {
			with(one(stuck(own("second", "first")), granted()), inAccount(account("pull", "first", "second", "pull"))), skip, "its own"},
		"nor is one that lacks what others gave the account": {
			with(one(stuck(own("first")), granted()), inAccount(account("pull", "first", "second", "pull"))), skip, "its own"},
		"an attached name that the Pod got already is the account's too": {
			with(one(stuck(own("first", "early")), granted()), inAccount(account("early,pull", "first", "early", "pull"))), evict, ""},
		"so is one that was attached for another Secret since": {
			with(one(stuck(own("first")), granted()), inAccount(account("other,pull", "first", "other", "pull"))), evict, ""},
		"a name that a person attached counts as ours": {
			with(one(stuck(own("first")), granted()), inAccount(account("", "first", "pull"))), evict, ""},
		"an injected name is no list of its own": {
			with(one(stuck(own("early")), granted(noPods)), func(o *observation) { o.Injected = []string{"early"} }), evict, ""},
		"nor does it hide what is the account's": {
			with(one(stuck(own("first", "early")), granted(noPods)), func(o *observation) {
				o.Injected, o.Account = []string{"early"}, account("early,pull", "early", "first", "pull")
			}), evict, ""},
		"nor what is the Pod's own": {
			with(one(stuck(own("mine", "early")), granted(noPods)), func(o *observation) { o.Injected = []string{"early"} }), skip, "its own"},
		"without an account there would be no new Pod": {
			with(one(stuck(), granted()), inAccount(nil)), skip, "ServiceAccount default does not exist"},
		"a name that nobody attaches is not waited for": {
			with(one(stuck(), granted()), inAccount(account(""))), skip, "nothing injects it, and ServiceAccount default does not carry it"},
		"one that is to be attached is waited for": {
			with(one(stuck(), granted(attaches)), inAccount(account(""))), wait, "does not carry the name pull yet"},
		"but not for ever": {
			with(one(stuck(), granted(attaches)), func(o *observation) { o.Account, o.AccountWaits = account(""), accountPatience }), skip, "would not get the name"},
		"a Pod that came before the first eviction is evicted": {
			with(one(stuck(), granted()), evictedAt(noon.Add(time.Minute))), evict, ""},
		"one that came after it is not": {
			with(one(stuck(), granted()), evictedAt(noon.Add(-time.Minute))), skip, "it came after another one of its controller was evicted, at 2026-05-01T11:59:00Z"},
		"one of the same second came after it": {
			with(one(stuck(), granted()), evictedAt(noon.Add(time.Second-1))), skip, "came after"},
		"an eviction for another Secret does not count": {
			with(one(stuck(), granted()), func(o *observation) { o.Evicted = map[string]time.Time{"other": noon} }), evict, ""},
		"of two Secrets one is enough": {
			observation{Pod: stuck(), Account: account("", "second"), Claims: []claim{granted(called("first", "reg.io")), granted(called("second", "reg.io"))}}, evict, "Secret second"},
		"to wait for one is better than to give up": {
			observation{Pod: stuck(), Account: account("", "second"), Claims: []claim{granted(called("first", "reg.io")), granted(called("second", "reg.io"), absent)}}, wait, "Secret second"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := decide(c.observation)
			if got.Action != c.action || got.Why == "" || !strings.Contains(got.Why, c.why) {
				t.Errorf("got %s, because %q", got.Action, got.Why)
			}
			if got.Action == evict && (got.Grant == nil || got.Image == "") {
				t.Errorf("it is not said what for: %+v", got)
			}
			if again := strings.HasPrefix(got.Why, "it came after"); got.Again != again {
				t.Errorf("that it was in vain before is %t", got.Again)
			}
			if got.ForAccount != (got.Action == wait && strings.Contains(got.Why, "ServiceAccount")) {
				t.Errorf("that it waits for the account is %t", got.ForAccount)
			}
		})
	}
}

func imageVolume(image string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Image = "public.io/app"
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "models"}}
		p.Spec.Volumes = []corev1.Volume{{Name: "models", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: image}}}}
	}
}

func ephemeralFails(p *corev1.Pod) {
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "reg.io/debug"}}}
	p.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{waiting("debug", "ImagePullBackOff")}
	p.Status.ContainerStatuses = []corev1.ContainerStatus{running("app")}
}

// The ServiceAccount is read only where the verdict may be another for it.
func TestNeedsAccount(t *testing.T) {
	cases := map[string]struct {
		observation
		want bool
	}{
		"for a Pod that a Secret helps":            {one(stuck(), granted()), true},
		"even if it is not there yet":              {one(stuck(), granted(absent)), true},
		"not with injection":                       {with(one(stuck(), granted()), func(o *observation) { o.Injection = true }), false},
		"but if the grant wants none":              {with(one(stuck(), granted(noPods)), func(o *observation) { o.Injection = true }), true},
		"not if no Secret helps":                   {one(stuck(), granted(called("pull", "other.io"))), false},
		"not if the Pod lists the name":            {one(stuck(own("pull")), granted()), false},
		"not for a Pod that is out of reach":       {one(stuck(phase(corev1.PodFailed)), granted()), false},
		"not before the Secret's content is known": {one(stuck(), granted(unknown)), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := needsAccount(c.observation); got != c.want {
				t.Errorf("got %t", got)
			}
			if !c.want {
				before := decide(c.observation)
				c.Account = nil
				if after := decide(c.observation); before != after {
					t.Errorf("the verdict is another without it: %+v, %+v", before, after)
				}
			}
		})
	}
}

// What an observation holds is shared with the cache of grants.
func TestDecideChangesNothing(t *testing.T) {
	o := with(one(stuck(own("first")), granted()), func(o *observation) { o.Account = account("pull", "first", "pull") })
	decide(o)
	if !slices.Equal(o.Account.ImagePullSecrets, references("first", "pull")) {
		t.Errorf("the account's list is %v", o.Account.ImagePullSecrets)
	}
}
