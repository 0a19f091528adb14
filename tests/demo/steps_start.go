package main

import (
	"context"
	"fmt"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/tests/federation"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// bringUp is step 1.
func (s *story) bringUp(ctx context.Context) error {
	took, err := timed(func() error {
		return s.during("starting Kubernetes", func(note func(string)) error {
			return s.startCluster(ctx, clusterProgress{say: s.say, note: note})
		})
	})
	if err != nil {
		return err
	}
	version, err := s.discovery.ServerVersion()
	if err != nil {
		return fmt.Errorf("ask for the cluster's version: %w", err)
	}
	s.saw(took, "Kubernetes %s is up (API server, controller manager, etcd; no nodes)", version.GitVersion)

	took, err = timed(func() error { return s.startCloud(ctx) })
	if err != nil {
		return err
	}
	s.saw(took, "a fake AWS (STS, ECR) and its registries are up, under their real names")
	return s.fillRegistries(ctx)
}

// fillRegistries makes the logins and images that the story is about.
func (s *story) fillRegistries(ctx context.Context) error {
	s.key = s.cloud.AddAccessKey(ecrAccount, "puller")
	s.cloud.GrantECR(s.key.UserARN, ecrAccount)
	// A password that nobody could guess, from what makes AWS keys.
	s.passwords = []string{s.cloud.AddAccessKey(ecrAccount, "dice").Secret}
	s.cloud.AddStaticLogin(staticHost, staticUser, s.passwords[0])
	for _, image := range []string{ecrImage, staticImage} {
		took, err := timed(func() error { return s.cloud.PushImage(ctx, image) })
		if err != nil {
			return err
		}
		s.saw(took, "pushed %s", image)
	}
	return nil
}

// startOperator is step 2.
func (s *story) startOperator(ctx context.Context) error {
	var binary string
	took, err := timed(func() error {
		return s.during("building the operator", func(func(string)) (err error) {
			binary, err = operator.Build(ctx, s.cluster.Dir()) // which goes with the cluster
			return err
		})
	})
	if err != nil {
		return err
	}
	s.saw(took, "built the operator")

	if err := operator.Install(ctx, s.cluster.Config(), operator.Fence{Audiences: federation.Audiences()}); err != nil {
		return fmt.Errorf("install the operator: %w", err)
	}
	kubeconfig, err := s.cluster.ServiceAccountKubeconfig(ctx, operator.Namespace, operator.ServiceAccount)
	if err != nil {
		return err
	}
	took, err = timed(func() error {
		return s.during("starting the operator", func(func(string)) error {
			return s.startOperatorProcess(ctx, binary, kubeconfig)
		})
	})
	if err != nil {
		return err
	}
	s.saw(took, "the operator runs and is ready (process %d)", s.operator.Pid())
	return s.checkRights(ctx, kubeconfig)
}

// right is something that one may or may not do: everywhere and to all, unless
// it has a namespace and a name.
type right struct {
	group, resource, subresource, verb string
	namespace, name                    string
}

// String is the right in plain words.
func (r right) String() string {
	resource := r.resource
	if r.subresource != "" {
		resource += "/" + r.subresource
	}
	if r.name != "" {
		resource += " of " + r.namespace + "/" + r.name
	}
	return r.verb + " " + resource
}

// rights are some that the operator must and must not hold in the whole
// cluster.
func rights() (must, mustNot []right) {
	const ours = "images.banzaicloud.io"
	must = []right{
		{verb: "patch", resource: "secrets"}, {verb: "watch", resource: "namespaces"}, {verb: "watch", resource: "pods"},
		{group: ours, verb: "patch", resource: "imagepullsecrets", subresource: "status"},
	}
	mustNot = []right{
		{group: ours, verb: "patch", resource: "imagepullsecrets"}, {verb: "patch", resource: "namespaces"},
		{verb: "create", resource: "pods"}, {verb: "get", resource: "configmaps"},
		{verb: "create", resource: "serviceaccounts", subresource: "token"},
	}
	return must, mustNot
}

// checkRights asks the API server, with the operator's own credential, who it
// is and what it may do.
func (s *story) checkRights(ctx context.Context, kubeconfig string) error {
	var err error
	if s.asOperator, err = clientFromFile(kubeconfig); err != nil {
		return err
	}
	self := &authenticationv1.SelfSubjectReview{}
	if err := s.asOperator.Create(ctx, self); err != nil {
		return fmt.Errorf("ask who the operator is: %w", err)
	}
	expected := "system:serviceaccount:" + operator.Namespace + ":" + operator.ServiceAccount
	if self.Status.UserInfo.Username != expected {
		return unmet{expected: "the operator to be " + expected, seen: self.Status.UserInfo.Username}
	}
	s.noted("it is %s", expected)

	must, mustNot := rights()
	may, err := ask(ctx, s.asOperator, must, true)
	if err != nil {
		return err
	}
	mayNot, err := ask(ctx, s.asOperator, mustNot, false)
	if err != nil {
		return err
	}
	s.noted("it may do its work, and nothing else that it was tried with")
	s.say("may:     " + may)
	s.say("may not: " + mayNot)
	return nil
}

// ask asks the API server about rights and returns them as a list.
func ask(ctx context.Context, as client.Client, rights []right, expected bool) (string, error) {
	var list []string
	for _, r := range rights {
		review := &authorizationv1.SelfSubjectAccessReview{}
		review.Spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
			Group: r.group, Resource: r.resource, Subresource: r.subresource, Verb: r.verb,
			Namespace: r.namespace, Name: r.name,
		}
		if err := as.Create(ctx, review); err != nil {
			return "", fmt.Errorf("ask whether the operator may %s: %w", r, err)
		}
		if review.Status.Allowed != expected {
			return "", unmet{expected: fmt.Sprintf("allowed=%t for the operator to %s", expected, r), seen: fmt.Sprintf("allowed=%t", review.Status.Allowed)}
		}
		list = append(list, r.String())
	}
	return strings.Join(list, ", "), nil
}
