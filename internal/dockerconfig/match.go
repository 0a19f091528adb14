package dockerconfig

import (
	"net"
	"path"
	"slices"
	"strings"
)

// Match reports whether the kubelet would try one of the logins for an image,
// named as in a container. tests/kubelet holds it against the kubelet's own
// lookup. What the kubelet takes for no image may match or not.
func (l Logins) Match(image string) bool {
	host, repository := splitImage(image)
	for key := range l {
		if matches(key, host, repository) {
			return true
		}
	}
	return false
}

// matches applies one key to the host and the repository of an image.
func matches(key, host, repository string) bool {
	registry, err := registryOf(key)
	if err != nil {
		return false
	}
	if registry == dockerHub && strings.Contains(key, dockerHubFallback) && !strings.ContainsAny(host, ".:") {
		return true // the kubelet takes every host without "." or ":", such as localhost, for Docker Hub
	}
	keyHost, prefix, _ := strings.Cut(registry, "/")
	return sameHost(keyHost, host) && strings.HasPrefix(repository, prefix)
}

// sameHost reports whether a key's host, which may hold wildcards, fits an
// image's: label by label, and with the same port or none.
func sameHost(key, image string) bool {
	keyLabels, keyPort := splitHost(key)
	imageLabels, imagePort := splitHost(image)
	return keyPort == imagePort && slices.EqualFunc(keyLabels, imageLabels, func(pattern, label string) bool {
		matched, err := path.Match(pattern, label)
		return err == nil && matched
	})
}

// splitHost returns a host's labels, and its port if it has one.
func splitHost(authority string) (labels []string, port string) {
	host, port, err := net.SplitHostPort(authority)
	if err != nil {
		host, port = authority, ""
	}
	return strings.Split(host, "."), port
}

// splitImage returns the host and the repository of an image, tag and digest
// left out, under the rules by which short names are Docker Hub's.
func splitImage(image string) (host, repository string) {
	name, _, _ := strings.Cut(image, "@")
	if tag := strings.LastIndex(name, ":"); tag > strings.LastIndex(name, "/") {
		name = name[:tag]
	}
	host, repository, found := strings.Cut(name, "/")
	isHost := host == "localhost" || strings.ContainsAny(host, ".:") || strings.ToLower(host) != host
	switch {
	case !found || !isHost:
		host, repository = dockerHub, name
	case host == dockerHubFallback:
		host = dockerHub
	}
	if host == dockerHub && !strings.Contains(repository, "/") {
		repository = "library/" + repository
	}
	return host, repository
}
