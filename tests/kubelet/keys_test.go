package kubelet

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"k8s.io/klog/v2"
)

// inAnyOrder stands first among the keys that the kubelet tries in an order
// that changes from one process to the next.
const inAnyOrder = "in any order"

func TestTheKubeletChoosesByTheKey(t *testing.T) {
	tests := map[string]struct {
		keys  []string
		image string
		want  []string // the keys whose logins are tried, in order
	}{
		"a host alone":                             {[]string{"reg.io"}, "reg.io/a", []string{"reg.io"}},
		"a host with the scheme https":             {[]string{"https://reg.io"}, "reg.io/a", []string{"https://reg.io"}},
		"a host with the scheme http":              {[]string{"http://reg.io"}, "reg.io/a", []string{"http://reg.io"}},
		"a host with the API path /v1/":            {[]string{"https://reg.io/v1/"}, "reg.io/a", []string{"https://reg.io/v1/"}},
		"a host with the API path /v2/":            {[]string{"https://reg.io/v2/"}, "reg.io/a", []string{"https://reg.io/v2/"}},
		"tag and digest play no part":              {[]string{"reg.io/a"}, "reg.io/a:v1@sha256:" + strings.Repeat("0", 64), []string{"reg.io/a"}},
		"an API path without its slash":            {[]string{"https://reg.io/v2"}, "reg.io/a", nil},
		"that one is for repositories' names":      {[]string{"https://reg.io/v2"}, "reg.io/v2ray/a", []string{"https://reg.io/v2"}},
		"an API path before a repository":          {[]string{"reg.io/v2/team"}, "reg.io/team/a", []string{"reg.io/v2/team"}},
		"the port of the image":                    {[]string{"reg.io:5000"}, "reg.io:5000/a", []string{"reg.io:5000"}},
		"no port for an image with one":            {[]string{"reg.io"}, "reg.io:5000/a", nil},
		"a port for an image without, even 443":    {[]string{"reg.io:443"}, "reg.io/a", nil},
		"capitals":                                 {[]string{"REG.io"}, "reg.io/a", nil},
		"a wildcard for one label":                 {[]string{"*.azurecr.io"}, "foo.azurecr.io/a", []string{"*.azurecr.io"}},
		"a wildcard does not stand for two labels": {[]string{"*.azurecr.io"}, "a.foo.azurecr.io/a", nil},
		"two wildcards":                            {[]string{"*.dkr.ecr.*.amazonaws.com"}, "1.dkr.ecr.us-east-1.amazonaws.com/a", []string{"*.dkr.ecr.*.amazonaws.com"}},
		"a wildcard alone has one label":           {[]string{"*"}, "reg.io/a", nil},
		"a wildcard alone fits localhost":          {[]string{"*"}, "localhost/a", []string{"*"}},
		"a question mark begins a query":           {[]string{"f?o.io"}, "foo.io/a", nil},
		"a wildcard in a path":                     {[]string{"reg.io/*/x"}, "reg.io/a/x", nil},
		"a path may end inside a repository's name, and the longer one comes first": {
			[]string{"quay.io", "quay.io/core"}, "quay.io/coreos/etcd", []string{"quay.io/core", "quay.io"}},
		"a path with a closing slash ends there": {[]string{"quay.io/core/"}, "quay.io/coreos/etcd", nil},
		"of three paths the longest comes first": {
			[]string{"a.io", "a.io/x", "a.io/x/y"}, "a.io/x/y/z", []string{"a.io/x/y", "a.io/x", "a.io"}},
		"a host comes before a wildcard":            {[]string{"*.foo.io", "a.foo.io"}, "a.foo.io/x", []string{"a.foo.io", "*.foo.io"}},
		"Docker Hub as docker.io":                   {[]string{"docker.io"}, "nginx", []string{"docker.io"}},
		"Docker Hub as index.docker.io":             {[]string{"index.docker.io"}, "nginx", []string{"index.docker.io"}},
		"Docker Hub as docker login writes it":      {[]string{"https://index.docker.io/v1/"}, "docker.io/library/nginx", []string{"https://index.docker.io/v1/"}},
		"Docker Hub's official images":              {[]string{"docker.io/library"}, "nginx:1", []string{"docker.io/library"}},
		"Docker Hub's API":                          {[]string{"registry-1.docker.io"}, "nginx", nil},
		"Docker Hub's login path without its slash": {[]string{"index.docker.io/v1"}, "nginx", nil},
		"Docker Hub's login path with a repository": {[]string{"https://index.docker.io/v1/library"}, "nginx", nil},
		"index.docker.io counts only when nothing else fits": {
			[]string{"https://index.docker.io/v1/", "docker.io"}, "docker.io/team/app", []string{"docker.io"}},
		"and then for localhost too": {[]string{"index.docker.io"}, "localhost/a", []string{"index.docker.io"}},
		"two keys for one registry": {
			[]string{"reg.io", "https://reg.io"}, "reg.io/a", []string{inAnyOrder, "https://reg.io", "reg.io"}},
		"a character class leaves the other keys alone":      {[]string{"[a-f]oo.io", "*.io"}, "foo.io/a", []string{"*.io"}},
		"a wildcard for the port leaves the others alone":    {[]string{"reg.io:*", "reg.io:5000"}, "reg.io:5000/a", []string{"reg.io:5000"}},
		"an escaped question mark leaves the others alone":   {[]string{"f%3Fo.io", "foo.io"}, "foo.io/a", []string{"foo.io"}},
		"an IPv6 address with its port":                      {[]string{"[::1]:5000"}, "[::1]:5000/a", []string{"[::1]:5000"}},
		"a host that only begins like the image's":           {[]string{"reg.io"}, "reg.io.evil.example/a", nil},
		"a key that only looks like the host of the image's": {[]string{"1.dkr.ecr.us-east-1.amazonaws.com"}, "1.dkr.ecr.us-east-1.amazonaws.com.evil.example/a", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			source := entries{}
			for _, key := range test.keys {
				source[key] = entry(key, "pw")
			}
			var got []string
			for _, login := range lookup(t, mustKeyring(t, source.document()), test.image) {
				got = append(got, login.Username)
			}
			if len(test.want) > 0 && test.want[0] == inAnyOrder {
				slices.Sort(got)
				test.want = test.want[1:]
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("keys whose logins are tried (-want +got):\n%s", diff)
			}
			expectAgreement(t, source, test.image)
		})
	}
}

// What the kubelet can't parse it leaves out, and says so in its log.
func TestTheKubeletLogsKeysThatItIgnores(t *testing.T) {
	var logged strings.Builder
	klog.SetLogger(funcr.New(func(_, line string) { logged.WriteString(line) }, funcr.Options{}))
	defer klog.SetLogger(logr.Discard())
	for _, key := range []string{"[a-f]oo.io", "reg.io:*", "f%3Fo.io"} {
		mustKeyring(t, entries{key: entry("ada", "pw")}.document())
		if !strings.Contains(logged.String(), key) {
			t.Errorf("%q is not in the log: %s", key, &logged)
		}
	}
}

// The Secrets of a Pod are one keyring: the order of the Secrets counts only
// among logins of one key, and the longer path wins across them.
func TestTheKubeletPutsAllPullSecretsTogether(t *testing.T) {
	var documents [][]byte
	for i, keys := range [][]string{{"reg.io", "b.io"}, {"https://reg.io", "reg.io/team"}} {
		source := entries{}
		for _, key := range keys {
			source[key] = entry(fmt.Sprintf("%d %s", i, key), "pw")
		}
		documents = append(documents, source.document())
	}
	var got []string
	for _, login := range lookup(t, mustKeyring(t, documents...), "reg.io/team/app") {
		got = append(got, login.Username)
	}
	if diff := cmp.Diff([]string{"1 reg.io/team", "0 reg.io", "1 https://reg.io"}, got); diff != "" {
		t.Errorf("logins that are tried (-want +got):\n%s", diff)
	}
}
