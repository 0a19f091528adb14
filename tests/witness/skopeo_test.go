package witness

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
)

// imagesOf returns an image of each registry that the sources' logins open, by
// the kind of source.
func imagesOf(sources []federation.Source) map[string]string {
	named := map[string]string{"ECR Public by its other name": "ecr-public.aws.com/team/app:v1"}
	for _, source := range sources {
		named[source.Name] = source.Registry + "/team/app:v1"
		if source.Service == fakecloud.DockerHub { // whose logins are for images of the organisation
			named[source.Name] = "docker.io/" + source.Entry.TokenExchange.Username + "/app:v1"
		}
	}
	return named
}

// authFile puts a dockerconfigjson where skopeo reads it, and returns skopeo's
// environment.
func authFile(t *testing.T, document []byte) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "auth.json")
	if err := os.WriteFile(file, document, 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"REGISTRY_AUTH_FILE=" + file}
}

func TestSkopeoPullsWithTheOperatorsSecret(t *testing.T) {
	skopeo := installed(t, "skopeo", "skopeo")
	sources := federation.Kinds(shared.cloud, shared.id, 1)
	with, without := authFile(t, operatorsSecret(t, sources)), authFile(t, []byte(`{"auths":{}}`))
	for name, image := range imagesOf(sources) {
		t.Run(name, func(t *testing.T) {
			push(t, image)
			image := "docker://" + image
			output, err := skopeo.run(t, with, "inspect", "--no-tags", image)
			if err != nil {
				t.Fatal(err)
			}
			var inspected struct{ Digest string }
			if err := json.Unmarshal([]byte(output), &inspected); err != nil {
				t.Fatalf("reading what skopeo printed: %v", err)
			}
			directory := filepath.Join(t.TempDir(), "image")
			if _, err := skopeo.run(t, with, "copy", "--insecure-policy", image, "dir:"+directory); err != nil {
				t.Fatal(err)
			}
			manifest, err := os.ReadFile(filepath.Join(directory, "manifest.json"))
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("sha256:%x", sha256.Sum256(manifest)); got != inspected.Digest {
				t.Errorf("it inspected %s, but copied %s", inspected.Digest, got)
			}
			if _, err := skopeo.run(t, without, "inspect", "--no-tags", image); err == nil {
				t.Error("the image can be read without the Secret")
			}
		})
	}
}
