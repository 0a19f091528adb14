package dockerconfig

import (
	"strings"
	"testing"
)

func TestRegistryOfFilesKeysAsTheKubelet(t *testing.T) {
	tests := map[string]struct{ key, want string }{
		"a host":                              {"reg.io", "reg.io"},
		"a host with a closing slash":         {"reg.io/", "reg.io"},
		"https":                               {"https://reg.io", "reg.io"},
		"http":                                {"http://reg.io", "reg.io"},
		"the path of API version 1":           {"https://reg.io/v1/", "reg.io"},
		"the path of API version 2":           {"https://reg.io/v2/", "reg.io"},
		"a repository below the API's path":   {"reg.io/v2/team", "reg.io/team"},
		"only one API path is dropped":        {"reg.io/v2/v2/x", "reg.io/v2/x"},
		"a port":                              {"reg.io:5000", "reg.io:5000"},
		"the scheme's own port is a port":     {"https://reg.io:443", "reg.io:443"},
		"an empty port":                       {"reg.io:", "reg.io"},
		"a wildcard for one label":            {"*.azurecr.io", "*.azurecr.io"},
		"several wildcards":                   {"*.dkr.ecr.*.amazonaws.com", "*.dkr.ecr.*.amazonaws.com"},
		"a wildcard inside a label":           {"a*b.io", "a*b.io"},
		"a wildcard that localhost matches":   {"*", "*"},
		"localhost":                           {"localhost", "localhost"},
		"localhost with a repository":         {"localhost/team", "localhost/team"},
		"one label with a port":               {"registry:5000", "registry:5000"},
		"an IPv4 address":                     {"10.0.0.1:5000", "10.0.0.1:5000"},
		"an IPv6 address with a port":         {"[fd00::1]:5000", "[fd00::1]:5000"},
		"an xn-- host":                        {"xn--bcher-kva.example", "xn--bcher-kva.example"},
		"a path":                              {"quay.io/core", "quay.io/core"},
		"a path that ends at a component":     {"quay.io/core/", "quay.io/core/"},
		"a path that ends in a separator":     {"quay.io/core__", "quay.io/core__"},
		"a path with every separator":         {"a.io/x.y/x_y/x__y/x---y", "a.io/x.y/x_y/x__y/x---y"},
		"a percent-encoded path":              {"reg.io/%74eam", "reg.io/team"},
		"docker.io":                           {"docker.io", "docker.io"},
		"index.docker.io is docker.io":        {"index.docker.io", "docker.io"},
		"what docker login writes":            {"https://index.docker.io/v1/", "docker.io"},
		"the same without scheme":             {"index.docker.io/v2/", "docker.io"},
		"a path of docker.io":                 {"docker.io/library", "docker.io/library"},
		"a path below docker.io's API path":   {"docker.io/v1/library", "docker.io/library"},
		"Docker Hub with a port is a host":    {"index.docker.io:443", "index.docker.io:443"},
		"a wildcard under docker.io is apart": {"*.docker.io", "*.docker.io"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := registryOf(test.key)
			if err != nil || got != test.want {
				t.Errorf("registryOf(%q) = %q, %v, want %q", test.key, got, err, test.want)
			}
		})
	}
}

func TestRegistryOfRefusesKeysThatNoImageMatches(t *testing.T) {
	tests := map[string]struct{ key, want string }{
		"empty":                             {"", "the key is empty"},
		"a scheme alone":                    {"https://", "the key is empty"},
		"a path alone":                      {"/team", `a registry's host is made of`},
		"an upper-case host":                {"REG.io", `registry hosts are lower case for the kubelet; write "reg.io"`},
		"an upper-case host, other parts":   {"https://REG.io:5000/v2/", `registry hosts are lower case for the kubelet; write "https://reg.io:5000/v2/"`},
		"a question mark":                   {"f?o.io", `the kubelet drops a key's text from "?" or "#" on`},
		"a query":                           {"reg.io/team?x=y", `the kubelet drops a key's text from "?" or "#" on`},
		"a fragment":                        {"reg.io#x", `the kubelet drops a key's text from "?" or "#" on`},
		"a character class":                 {"[a-f]oo.io", `the kubelet can't match "[" and "]" in a host`},
		"a character class further on":      {"foo[12].io", `the kubelet can't match "[" and "]" in a host`},
		"a wildcard port":                   {"reg.io:*", "a port is a number and can't be a wildcard"},
		"two ports":                         {"reg.io:50:50", "a port is a number"},
		"an encoded question mark":          {"f%3Fo.io", "the key is not <host>[:<port>][/<path>]"},
		"a bad escape in the path":          {"reg.io/%zz", "the key is not <host>[:<port>][/<path>]"},
		"a backslash":                       {`reg\.io`, "the key is not <host>[:<port>][/<path>]"},
		"version 2 without closing slash":   {"https://reg.io/v2", `without a closing "/" the kubelet takes "/v2" for the beginning of repositories' names; write "reg.io"`},
		"version 1 without closing slash":   {"reg.io:5000/v1", `without a closing "/" the kubelet takes "/v1" for the beginning of repositories' names; write "reg.io:5000"`},
		"a wildcard in the path":            {"reg.io/*/x", `"*" works only in the host; write "reg.io"`},
		"an upper-case path":                {"reg.io/Team", `no image's path begins with "/Team"`},
		"an empty path component":           {"reg.io/a//b", `no image's path begins with "/a//b"`},
		"a path that begins oddly":          {"reg.io/.a", `no image's path begins with "/.a"`},
		"a tag":                             {"reg.io/a:v1", `no image's path begins with "/a:v1"`},
		"Docker Hub's API host":             {"registry-1.docker.io", `the names of Docker Hub's images begin with docker.io for the kubelet; write "docker.io"`},
		"Docker Hub's API host and path":    {"https://registry-1.docker.io/v2/", `the names of Docker Hub's images begin with docker.io for the kubelet; write "docker.io"`},
		"index.docker.io, no slash":         {"index.docker.io/v1", `the names of Docker Hub's images begin with docker.io for the kubelet; write "docker.io"`},
		"a path of index.docker.io":         {"https://index.docker.io/v1/library", `the names of Docker Hub's images begin with docker.io for the kubelet; write "docker.io/library"`},
		"index.docker.io with a bare colon": {"index.docker.io:", `the names of Docker Hub's images begin with docker.io for the kubelet; write "docker.io"`},
		"a space":                           {"reg io", "the key contains white space"},
		"a line break":                      {"reg.io\n", "the key contains white space"},
		"a control character":               {"reg.io\x00", "the key contains white space"},
		"not ASCII":                         {"bücher.example", "image names are ASCII"},
		"not ASCII, encoded":                {"b%C3%BCcher.example", "a registry's host is made of"},
		"a user part":                       {"ada:hunter2@reg.io", `the key contains "@"`},
		"another scheme":                    {"oci://reg.io", `the kubelet knows no scheme but "https://" and "http://"; write "reg.io"`},
		"a scheme in capitals":              {"HTTPS://reg.io", `the kubelet knows no scheme but "https://" and "http://"; write "reg.io"`},
		"one label without a port":          {"registry", "a registry's host has a dot or a port"},
		"a wildcard that localhost is not":  {"reg*", "a registry's host has a dot or a port"},
		"an underscore":                     {"my_reg.io", "a registry's host is made of"},
		"an empty label":                    {"reg..io", "a registry's host is made of"},
		"a final dot":                       {"reg.io.", "a registry's host is made of"},
		"a label that ends in a dash":       {"reg-.io", "a registry's host is made of"},
		"an IPv6 address without a port":    {"[fd00::1]", "the kubelet can't match an IPv6 address without a port"},
		"an IPv6 address with a zone":       {"[fe80::1%25eth0]:5000", `between "[" and "]" image names have only an IPv6 address`},
		"longer than any image's name":      {strings.Repeat("a.", 300) + "io", "the key is longer than 600 bytes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := registryOf(test.key)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Fatalf("registryOf(%q) = %q, %v, want an error that begins with %s", test.key, got, err, test.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the message holds a password: %v", err)
			}
		})
	}
}
