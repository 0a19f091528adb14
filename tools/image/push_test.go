package main

import (
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func TestPushSendsEveryArchitectureToAPlainRegistry(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	directory := writeImage(t, standIns(t))
	target := strings.TrimPrefix(server.URL, "http://") + "/team/operator:v1.2.3"
	var printed bytes.Buffer
	if err := run(t.Context(), []string{"push", "-out", directory, target}, &printed); err != nil {
		t.Fatal(err)
	}
	local, err := readLayout(filepath.Join(directory, "image"))
	if err != nil {
		t.Fatal(err)
	}
	digest, err := local.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSuffix(target, ":v1.2.3") + "@" + digest.String() + "\n"; printed.String() != want {
		t.Errorf("printed %q, want %q", &printed, want)
	}
	reference, err := name.ParseReference(target)
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := remote.Index(reference, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(pushed); err != nil {
		t.Error(err)
	}
	if got, err := pushed.Digest(); err != nil || got != digest {
		t.Errorf("the registry has %s, %v, want %s", got, err, digest)
	}
}
