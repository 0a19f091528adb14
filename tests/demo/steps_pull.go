package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// keychain is the logins of a Secret, as a container runtime uses them.
type keychain map[string]authn.AuthConfig

// Resolve returns the login of a registry, or none. That of Docker Hub stands
// under the address that it once had.
func (k keychain) Resolve(registry authn.Resource) (authn.Authenticator, error) {
	host := registry.RegistryStr()
	if host == name.DefaultRegistry {
		host = authn.DefaultAuthKey
	}
	login, found := k[host]
	if !found {
		return authn.Anonymous, nil
	}
	return authn.FromConfig(login), nil
}

// loginsOf reads a Secret's logins; none if it does not hold any.
func loginsOf(secret *corev1.Secret) keychain {
	var document struct {
		Auths keychain `json:"auths"`
	}
	if err := json.Unmarshal(secret.Data[corev1.DockerConfigJsonKey], &document); err != nil {
		return nil
	}
	return document.Auths
}

// pullImages is step 6.
func (s *story) pullImages(ctx context.Context) error {
	namespace := s.holders[len(s.holders)-1]
	secret, err := s.secret(ctx, namespace)
	if err != nil {
		return err
	}
	s.say(fmt.Sprintf("With nothing but the Secret in %s, over HTTPS, as a container runtime does it:", namespace))
	for _, image := range []string{ecrImage, staticImage} {
		s.say(image)
		var digest string
		took, err := timed(func() (err error) {
			digest, err = s.pull(ctx, image, loginsOf(secret))
			return err
		})
		if err != nil {
			return err
		}
		s.saw(took, "%s: got the manifest, %s…", shortly(image), digest[:len("sha256:")+12])
		if err := s.expectRefusal(ctx, image, keychain{}, "without the Secret"); err != nil {
			return err
		}
	}
	return nil
}

// shortly names an image without its registry.
func shortly(image string) string {
	_, repository, _ := strings.Cut(image, "/")
	return repository
}

// expectRefusal tries a pull that must not succeed, and tells of it.
func (s *story) expectRefusal(ctx context.Context, image string, logins keychain, with string) error {
	if err := s.checkRefusal(ctx, image, logins, with); err != nil {
		return err
	}
	s.noted("%s: %d %s %s", shortly(image), http.StatusUnauthorized, http.StatusText(http.StatusUnauthorized), with)
	return nil
}

// checkRefusal tries a pull that must not succeed.
func (s *story) checkRefusal(ctx context.Context, image string, logins keychain, with string) error {
	digest, err := s.pull(ctx, image, logins)
	expected := fmt.Sprintf("the registry to refuse %s %s with 401", image, with)
	if err == nil {
		return unmet{expected: expected, seen: "manifest " + digest}
	}
	if refused, ok := errors.AsType[*transport.Error](err); !ok || refused.StatusCode != http.StatusUnauthorized {
		return unmet{expected: expected, seen: err.Error()}
	}
	return nil
}

// pull fetches an image's manifest and returns its digest.
func (s *story) pull(ctx context.Context, image string, logins keychain) (string, error) {
	reference, err := name.ParseReference(image)
	if err != nil {
		return "", fmt.Errorf("read image name: %w", err)
	}
	descriptor, err := remote.Get(reference, remote.WithContext(ctx), remote.WithAuthFromKeychain(logins),
		remote.WithTransport(s.cloud.HTTPClient().Transport))
	if err != nil {
		return "", fmt.Errorf("pull %s: %w", image, err)
	}
	return descriptor.Digest.String(), nil
}

// secret reads the target Secret of a namespace.
func (s *story) secret(ctx context.Context, namespace string) (*corev1.Secret, error) {
	return s.secretNamed(ctx, namespace, targetName)
}

func (s *story) secretNamed(ctx context.Context, namespace, secretName string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	if err := s.api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: secretName}, secret); err != nil {
		return nil, fmt.Errorf("read Secret %s/%s: %w", namespace, secretName, err)
	}
	return secret, nil
}
