package witness

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// push puts an image into one of the cloud's registries.
func push(t *testing.T, image string) {
	t.Helper()
	if err := shared.cloud.PushImage(t.Context(), image); err != nil {
		t.Fatal(err)
	}
}

// expectOpens checks that a login opens a registry, and that another does not.
func expectOpens(t *testing.T, registry, user, password string) {
	t.Helper()
	image := registry + "/team/app:v1"
	push(t, image)
	if err := pull(t.Context(), image, user, password); err != nil {
		t.Errorf("pulling %s: %v", image, err)
	}
	if err := pull(t.Context(), image, user, "guessed"); err == nil {
		t.Errorf("%s can be pulled with any password", image)
	}
}

// pull fetches the manifest of an image.
func pull(ctx context.Context, image, user, password string) error {
	ref, err := name.ParseReference(image)
	if err != nil {
		return err
	}
	_, err = remote.Get(ref, remote.WithContext(ctx), remote.WithTransport(shared.cloud.HTTPClient().Transport),
		remote.WithAuth(&authn.Basic{Username: user, Password: password}))
	if err != nil {
		return fmt.Errorf("getting the manifest: %w", err)
	}
	return nil
}
