package main

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"os"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// binary is the operator for one platform.
type binary struct {
	content  []byte
	platform v1.Platform
	info     *buildinfo.BuildInfo // what Go noted in it: its modules and settings
}

// readBinaries reads the operator's binaries, one for each architecture, which
// they tell themselves.
func readBinaries(paths []string) ([]binary, error) {
	var binaries []binary
	for _, path := range paths {
		b, err := readBinary(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		same := func(other binary) bool { return other.platform.Equals(b.platform) }
		if slices.ContainsFunc(binaries, same) {
			return nil, fmt.Errorf("%s: a second binary for %s", path, b.platform)
		}
		binaries = append(binaries, b)
	}
	return binaries, nil
}

// readBinary reads a binary, which has to run in an image that holds nothing
// else: made by Go, for Linux, and linked statically.
func readBinary(path string) (binary, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return binary{}, err
	}
	info, err := buildinfo.Read(bytes.NewReader(content))
	if err != nil {
		return binary{}, fmt.Errorf("not a binary of Go: %w", err)
	}
	platform := v1.Platform{OS: setting(info, "GOOS"), Architecture: setting(info, "GOARCH")}
	if platform.OS != "linux" {
		return binary{}, fmt.Errorf("built for %s, not for Linux", platform)
	}
	executable, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return binary{}, err
	}
	for _, program := range executable.Progs {
		if program.Type == elf.PT_INTERP {
			return binary{}, fmt.Errorf("linked dynamically; build it with CGO_ENABLED=0")
		}
	}
	return binary{content: content, platform: platform, info: info}, nil
}

// setting returns what a binary was built with, or "".
func setting(info *buildinfo.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}
