package main

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"text/template"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/imagepullsecrets/operator/tests/operator"
)

//go:embed manifests/*.yaml
var manifestFiles embed.FS

// Who is who in the story.
const (
	ecrAccount  = "111122223333"
	ecrRegion   = "eu-central-1"
	ecrHost     = ecrAccount + ".dkr.ecr." + ecrRegion + ".amazonaws.com"
	ecrImage    = ecrHost + "/shop/api:v1"
	staticHost  = "registry.example.com"
	staticImage = staticHost + "/tools/scanner:v2"
	staticUser  = "robot"

	objectName      = "registries"
	targetName      = "registries"
	sourceNamespace = "registry-access"
	foreignName     = "payment-api-key"
	podNamespace    = "workshop"
	podName         = "api"

	federatedName      = "federated" // the object, and the Secret that it makes
	federatedNamespace = "platform"  // where that Secret is to stand
	identityNamespace  = "identities"
	identityName       = "puller"
)

// values fill in what a manifest leaves open.
type values struct {
	Name, Namespace             string
	AccessKeyID, SecretKey      string
	Account, Region, StaticHost string
	User, Password              string
	Image                       string
	Operator                    types.NamespacedName // its ServiceAccount
}

// masked are the values without what is secret.
func (v values) masked() values {
	v.SecretKey, v.Password = "(secret)", "(secret)"
	return v
}

// manifest returns a file of manifests with its values filled in.
func manifest(name string, v values) (string, error) {
	parsed, err := template.ParseFS(manifestFiles, "manifests/"+name)
	if err != nil {
		return "", fmt.Errorf("read manifest: %w", err)
	}
	var text bytes.Buffer
	if err := parsed.Execute(&text, v); err != nil {
		return "", fmt.Errorf("fill in manifest %s: %w", name, err)
	}
	return text.String(), nil
}

// apply applies a manifest and returns when the API server had answered.
func (s *story) apply(ctx context.Context, name string, v values) (time.Time, error) {
	text, err := manifest(name, v)
	if err != nil {
		return time.Time{}, err
	}
	if err := operator.Apply(ctx, s.api, []byte(text)); err != nil {
		return time.Time{}, fmt.Errorf("apply %s: %w", name, err)
	}
	return time.Now(), nil
}

// showAndApply is apply for what a person is to see, but for its secrets.
func (s *story) showAndApply(ctx context.Context, name string, v values) (time.Time, error) {
	text, err := manifest(name, v.masked())
	if err != nil {
		return time.Time{}, err
	}
	s.show(text)
	return s.apply(ctx, name, v)
}
