package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/federation"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// federatedLifetime is the shortened life of the first logins that the clouds
// give for tokens of the ServiceAccount.
const federatedLifetime = 16 * time.Second

// federatedNumber makes the names in the clouds, such as of projects, which are
// to have six letters.
const federatedNumber = 10

// federate is step 9.
func (s *story) federate(ctx context.Context) error {
	if err := s.trustIdentity(ctx); err != nil {
		return err
	}
	if err := s.makeIdentity(ctx); err != nil {
		return err
	}
	s.cloud.LimitLifetime(federatedLifetime)
	s.say(fmt.Sprintf("Whatever a cloud gives lives %.0f s instead of 1 h to 12 h for now, so that renewals are soon.", federatedLifetime.Seconds()))
	old, err := s.applyFederated(ctx)
	if err != nil {
		return err
	}
	s.cloud.LimitLifetime(0)
	s.noted("the object's status says of %d credentials from whom, for what and until when they are", len(old.told))
	s.show(credentialTable(old.told))
	if err := s.pullFederated(ctx, old.logins); err != nil {
		return err
	}
	s.say("What a cloud gives from now on lives as long as the real one's.")
	return s.renewFederated(ctx, old)
}

// trustIdentity makes the clouds' side of every source, and an image in each
// registry.
func (s *story) trustIdentity(ctx context.Context) error {
	if err := federation.TrustCluster(s.cloud, s.cluster); err != nil {
		return err
	}
	id := federation.Identity{Issuer: s.cluster.Issuer(), Namespace: identityNamespace, Name: identityName}
	s.federated = federation.Kinds(s.cloud, id, federatedNumber)
	took, err := timed(func() error {
		for _, source := range s.federated {
			if err := s.cloud.PushImage(ctx, imageOf(source)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.say("The clouds are told to trust a ServiceAccount. They check its tokens with the cluster's own keys.")
	s.saw(took, "%d registries trust %s and hold an image each", len(s.federated), id.Subject())
	return nil
}

// imageOf is the image in a source's registry. Docker Hub's login stands under a
// URL, and opens what is its organisation's.
func imageOf(source federation.Source) string {
	if source.Registry == authn.DefaultAuthKey {
		return name.DefaultRegistry + "/" + source.Entry.TokenExchange.Username + "/api:v1"
	}
	return source.Registry + "/shop/api:v1"
}

// makeIdentity makes the cluster's side: the ServiceAccount, and the operator's
// right to mint its tokens.
func (s *story) makeIdentity(ctx context.Context) error {
	for _, namespace := range []string{identityNamespace, federatedNamespace} {
		if _, err := s.apply(ctx, "plain-namespace.yaml", values{Name: namespace}); err != nil {
			return err
		}
	}
	_, err := s.showAndApply(ctx, "identity.yaml", values{
		Name: identityName, Namespace: identityNamespace,
		Operator: types.NamespacedName{Namespace: operator.Namespace, Name: operator.ServiceAccount},
	})
	if err != nil {
		return err
	}
	mint := right{verb: "create", resource: "serviceaccounts", subresource: "token", namespace: identityNamespace, name: identityName}
	err = s.eventually(ctx, "the operator's right to "+mint.String(), patience, func(ctx context.Context) error {
		_, err := ask(ctx, s.asOperator, []right{mint}, true)
		return err
	})
	if err != nil {
		return err
	}
	other := mint
	other.name = "default"
	if _, err := ask(ctx, s.asOperator, []right{other}, false); err != nil {
		return err
	}
	s.noted("the operator may mint tokens of %s/%s, and none of %s/%s", mint.namespace, mint.name, other.namespace, other.name)
	return s.checkNoSecrets(ctx)
}

// checkNoSecrets checks that there is nothing in the identity's namespace that
// could be stolen or must be rotated.
func (s *story) checkNoSecrets(ctx context.Context) error {
	var list corev1.SecretList
	if err := s.api.List(ctx, &list, client.InNamespace(identityNamespace)); err != nil {
		return fmt.Errorf("list the Secrets in %s: %w", identityNamespace, err)
	}
	if len(list.Items) > 0 {
		return unmet{expected: "no Secret in " + identityNamespace, seen: fmt.Sprintf("%d, such as %s", len(list.Items), list.Items[0].Name)}
	}
	s.noted("namespace %s holds no Secret: there is no key to rotate or to lose", identityNamespace)
	return nil
}

// applyFederated shows a part of the object and applies all of it. It returns
// the logins of its Secret, once there is one for each registry.
func (s *story) applyFederated(ctx context.Context) (federatedLogins, error) {
	text, err := yamlOf(federatedObject(s.federated[:1]))
	if err != nil {
		return federatedLogins{}, err
	}
	s.say(fmt.Sprintf("The object has an entry for each registry. Shown with the first of its %d only:", len(s.federated)))
	s.show(text)
	since := s.witness.now()
	if err := s.api.Create(ctx, federatedObject(s.federated)); err != nil {
		return federatedLogins{}, fmt.Errorf("create ImagePullSecret %s: %w", federatedName, err)
	}
	created := time.Now()
	logins, err := s.currentLogins(ctx, fmt.Sprintf("a login for each of %d registries", len(s.federated)), renewsLater)
	if err != nil {
		return federatedLogins{}, err
	}
	history := s.witness.seen(since)
	complete := history[slices.IndexFunc(history, func(seen sighting) bool {
		return isFederated(seen) && missingLogin(s.federated, loginsOf(seen.secret)) == ""
	})]
	s.saw(complete.at.Sub(created), "%s got a Secret with a login for each of %d registries", federatedNamespace, len(s.federated))
	return logins, nil
}

// federatedObject is an ImagePullSecret that is fed by sources.
func federatedObject(sources []federation.Source) *v1alpha1.ImagePullSecret {
	object := &v1alpha1.ImagePullSecret{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ImagePullSecret"},
		ObjectMeta: metav1.ObjectMeta{Name: federatedName},
	}
	for _, source := range sources {
		object.Spec.Registry.Credentials = append(object.Spec.Registry.Credentials, source.Entry)
	}
	object.Spec.Target.Secret.Name = federatedName
	object.Spec.Target.Namespaces.Names = []string{federatedNamespace}
	return object
}

// yamlOf writes an object as a person would.
func yamlOf(object *v1alpha1.ImagePullSecret) (string, error) {
	var text bytes.Buffer
	err := json.NewSerializerWithOptions(json.DefaultMetaFactory, nil, nil, json.SerializerOptions{Yaml: true}).Encode(object, &text)
	return text.String(), err
}

// isFederated recognises the standing Secret of the object that needs no
// password.
func isFederated(seen sighting) bool {
	return !gone(seen) && seen.secret.Namespace == federatedNamespace && seen.secret.Name == federatedName
}

// missingLogin returns a registry of the sources that there is no login for,
// "" if there are all.
func missingLogin(sources []federation.Source, logins keychain) string {
	for _, source := range sources {
		if _, found := logins[source.Registry]; !found {
			return source.Registry
		}
	}
	return ""
}

// pullFederated pulls from every registry, with logins and without.
func (s *story) pullFederated(ctx context.Context, logins keychain) error {
	s.say(fmt.Sprintf("Pulled with nothing but the Secret in %s:", federatedNamespace))
	var all time.Duration
	for i, source := range s.federated {
		took, err := timed(func() error {
			_, err := s.pull(ctx, imageOf(source), logins)
			return err
		})
		if err != nil {
			return err
		}
		all += took
		s.tick(fmt.Sprintf("%s %s: %s", entry(i), source.Name, source.Registry), took)
		if err := s.checkRefusal(ctx, imageOf(source), keychain{}, "without the Secret"); err != nil {
			return err
		}
	}
	s.saw(all, "pulled from each of %d registries with the Secret; without it each says 401", len(s.federated))
	return nil
}
