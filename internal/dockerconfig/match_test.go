package dockerconfig

import "testing"

// That the kubelet sees it the same way is proven in tests/kubelet.
func TestMatch(t *testing.T) {
	cases := map[string]struct {
		key   string
		image string
		want  bool
	}{
		"a host":                                  {"reg.io", "reg.io/app", true},
		"another host":                            {"reg.io", "other.io/app", false},
		"a host that only begins like it":         {"reg.io", "reg.io.evil.example/app", false},
		"tag and digest play no part":             {"reg.io/team/app", "reg.io/team/app:v1@sha256:00", true},
		"a path that the image begins with":       {"reg.io/team", "reg.io/team/app", true},
		"a path of others":                        {"reg.io/other", "reg.io/team/app", false},
		"the port of the image":                   {"reg.io:5000", "reg.io:5000/app:v1", true},
		"no port for an image with one":           {"reg.io", "reg.io:5000/app", false},
		"a wildcard for a label":                  {"*.dkr.ecr.*.amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com/app", true},
		"a wildcard is one label":                 {"*.reg.io", "a.b.reg.io/app", false},
		"a short name is Docker Hub's":            {"docker.io", "nginx", true},
		"so is one with a user":                   {"docker.io", "team/app:v1", true},
		"an official image is in library":         {"docker.io/library", "nginx:1", true},
		"Docker Hub by its other name":            {"https://index.docker.io/v1/", "nginx", true},
		"an image by Docker Hub's other name":     {"docker.io", "index.docker.io/team/app", true},
		"the other name opens localhost too":      {"index.docker.io", "localhost/app", true},
		"docker.io does not":                      {"docker.io", "localhost/app", false},
		"a key that the kubelet can't use":        {"https://reg.io/v2", "reg.io/v2ray/app", false},
		"an IPv6 address":                         {"[::1]:5000", "[::1]:5000/app", true},
		"a host in capitals is no user":           {"docker.io", "REG/app", false},
		"a port without a path is a tag":          {"docker.io", "nginx:5000", true},
		"a registry without a dot but with colon": {"registry:5000", "registry:5000/app", true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			logins := Logins{c.key: {Username: "ada", Password: "pw"}, "unrelated.example.com": {}}
			if got := logins.Match(c.image); got != c.want {
				t.Errorf("%q for %s: %t", c.key, c.image, got)
			}
		})
	}
	if (Logins{}).Match("nginx") {
		t.Error("no login matches")
	}
}
