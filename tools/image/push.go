package main

import (
	"context"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// push sends the image in a layout to a registry, with docker's or podman's
// login if there is one, and prints its reference by digest. Registries of this
// machine and of private networks may speak plain HTTP.
func push(ctx context.Context, directory, reference string, out io.Writer) error {
	target, err := name.ParseReference(reference)
	if err != nil {
		return err
	}
	index, err := readLayout(directory)
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	if err := remote.WriteIndex(target, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return fmt.Errorf("pushing to %s: %w", target, err)
	}
	fmt.Fprintln(out, target.Context().Digest(digest.String()))
	return nil
}
