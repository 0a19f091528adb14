package dockerconfig

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode"
)

const (
	dockerHub = "docker.io"
	// dockerHubFallback is used by the kubelet for Docker Hub when no other
	// entry matches, and only without a path.
	dockerHubFallback = "index.docker.io"
	// dockerHubAPI serves Docker Hub's images, but no image's name begins
	// with it.
	dockerHubAPI = "registry-1.docker.io"
)

// maxKeyLength has room for a scheme, the longest host with a port and the
// longest path that an image can have.
const maxKeyLength = 600

var (
	// hostLabel is a label of a host, with or without wildcards.
	hostLabel = regexp.MustCompile(`^[a-z0-9*](?:[a-z0-9*-]*[a-z0-9*])?$`)
	ipv6      = regexp.MustCompile(`^[0-9a-f:]+$`)
	// pathPrefix is whatever a repository's path can begin with: the kubelet
	// compares text, so it may end inside a component or its separator.
	pathPrefix = regexp.MustCompile(
		`^(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*(?:/|(?:[._]|__|-+))?$`)
)

// registryOf returns what the kubelet files a key under: host, port, and the
// text that a repository's path must begin with. Keys with equal registries
// match the same images. docker.io stands for index.docker.io too.
//
// The error says why no image can match the key, and what to write instead.
// It is stricter than the kubelet where the kubelet reads something else than
// the writer can have meant: it drops a user part, a query and a fragment.
func registryOf(key string) (string, error) {
	if err := checkText(key); err != nil {
		return "", err
	}
	location, err := parseLocation(key)
	if err != nil {
		return "", err
	}
	host, port, repository := location.Hostname(), location.Port(), location.Path
	// An API path of the registry that docker login writes.
	if strings.HasPrefix(repository, "/v1/") || strings.HasPrefix(repository, "/v2/") {
		repository = repository[len("/v1"):]
	}
	if repository == "/" {
		repository = ""
	}
	if err := checkHost(key, location.Host, host, port); err != nil {
		return "", err
	}
	if port == "" {
		if host, err = dockerHubHost(location.Host, host, repository); err != nil {
			return "", err
		}
	}
	if err := checkPath(location.Host, repository); err != nil {
		return "", err
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" {
		host += ":" + port
	}
	return host + repository, nil
}

// checkText finds what can be told from the key's text alone.
func checkText(key string) error {
	rest := withoutScheme(key)
	_, afterScheme, otherScheme := strings.Cut(rest, "://")
	switch {
	case rest == "":
		return errors.New("the key is empty; write the registry's host")
	case len(key) > maxKeyLength:
		return fmt.Errorf("the key is longer than %d bytes, longer than any image's name; write the registry's host", maxKeyLength)
	case strings.ContainsFunc(key, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return errors.New("the key contains white space or a control character; remove it")
	case strings.ContainsFunc(key, func(r rune) bool { return r > unicode.MaxASCII }):
		return errors.New("image names are ASCII; write an international host in its xn-- form")
	// May hold a password, so that nothing of it is repeated.
	case strings.Contains(key, "@"):
		return errors.New(`the key contains "@"; write the registry's host alone, and the login in username and password`)
	case strings.ContainsAny(key, "?#"):
		return errors.New(`the kubelet drops a key's text from "?" or "#" on; name each host, or use "*" between two dots`)
	case otherScheme:
		return fmt.Errorf(`the kubelet knows no scheme but "https://" and "http://"; write %q`, afterScheme)
	}
	return nil
}

// withoutScheme removes a scheme that the kubelet knows.
func withoutScheme(key string) string {
	if rest, found := strings.CutPrefix(key, "https://"); found {
		return rest
	}
	return strings.TrimPrefix(key, "http://")
}

// parseLocation parses a key as a URL, as the kubelet does.
func parseLocation(key string) (*url.URL, error) {
	rest := withoutScheme(key)
	location, err := url.Parse("https://" + rest)
	if err == nil {
		return location, nil
	}
	host, _, _ := strings.Cut(rest, "/")
	switch {
	case strings.ContainsAny(host, "[]"):
		return nil, errors.New(`the kubelet can't match "[" and "]" in a host; name each host, or use "*" between two dots`)
	case strings.Contains(host, ":"):
		return nil, errors.New(`a port is a number and can't be a wildcard; write an entry for each port`)
	}
	return nil, errors.New("the key is not <host>[:<port>][/<path>]; write the registry's host")
}

// checkHost says why no image's host can match. authority is host and port as
// the key has them.
func checkHost(key, authority, host, port string) error {
	if lower := strings.ToLower(authority); lower != authority {
		return fmt.Errorf("registry hosts are lower case for the kubelet; write %q", strings.Replace(key, authority, lower, 1))
	}
	if strings.HasPrefix(authority, "[") {
		return checkIPv6(host, port)
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if !hostLabel.MatchString(label) {
			return errors.New(`a registry's host is made of lower case letters, digits and "-" between single dots, and "*" as a wildcard; write the host as in the images' names`)
		}
	}
	// The kubelet takes "name/image" for a repository of Docker Hub.
	if matchesLocalhost, _ := path.Match(host, "localhost"); len(labels) == 1 && port == "" && !matchesLocalhost {
		return errors.New(`a registry's host has a dot or a port, or is localhost; write the host as in the images' names (a "*" stands for one part between two dots)`)
	}
	return nil
}

// checkIPv6 demands a port, because without one the kubelet takes the brackets
// for a character class.
func checkIPv6(host, port string) error {
	if !ipv6.MatchString(host) {
		return errors.New(`between "[" and "]" image names have only an IPv6 address without zone; write the host as in the images' names`)
	}
	if port == "" {
		return errors.New("the kubelet can't match an IPv6 address without a port; let the registry and the images' names have one")
	}
	return nil
}

// dockerHubHost returns docker.io for Docker Hub's other name, and refuses the
// keys for Docker Hub that match none of its images. The fallback is looked up
// by the authority's text, so that even a colon without a port spoils it.
func dockerHubHost(authority, host, repository string) (string, error) {
	switch {
	case authority == dockerHubFallback && repository == "":
		return dockerHub, nil
	case host != dockerHubFallback && host != dockerHubAPI:
		return host, nil
	case isBareAPIPath(repository):
		repository = ""
	}
	return "", fmt.Errorf("the names of Docker Hub's images begin with docker.io for the kubelet; write %q", dockerHub+repository)
}

// isBareAPIPath tells the API paths that lack the closing slash by which the
// kubelet would know them.
func isBareAPIPath(repository string) bool { return repository == "/v1" || repository == "/v2" }

// checkPath says why no image's path can begin with repository.
func checkPath(authority, repository string) error {
	switch {
	case isBareAPIPath(repository):
		return fmt.Errorf(`without a closing "/" the kubelet takes %q for the beginning of repositories' names; write %q`, repository, authority)
	case strings.Contains(repository, "*"):
		return fmt.Errorf(`"*" works only in the host; write %q`, authority)
	case !pathPrefix.MatchString(repository):
		return fmt.Errorf("no image's path begins with %q, as they are of lower case letters, digits and separators; write %q", repository, authority)
	}
	return nil
}
