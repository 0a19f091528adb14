package cluster

import (
	"os"
	"path/filepath"
	"testing"
)

func TestBelongsTo(t *testing.T) {
	const dir = "/tmp/imagepullsecret-cluster-1"
	tests := map[string]struct {
		args []string
		want bool
	}{
		"a component of the multi-call binary":         {[]string{"/cache/kubernetes", "etcd", "--data-dir=" + dir + "/etcd"}, true},
		"a component with a binary of its own":         {[]string{"/assets/kube-apiserver", "--cert-dir=" + dir + "/pki"}, true},
		"a component of another cluster":               {[]string{"/assets/etcd", "--data-dir=/tmp/imagepullsecret-cluster-2/etcd"}, false},
		"a component of a cluster with a longer name":  {[]string{"/assets/etcd", "--data-dir=" + dir + "2/etcd"}, false},
		"a pager that shows a log":                     {[]string{"less", dir + "/logs/etcd.log"}, false},
		"a client of the cluster":                      {[]string{"kubectl", "--kubeconfig=" + dir + "/admin.kubeconfig", "get", "etcd"}, false},
		"a process that has ended":                     {nil, false},
		"a component that only mentions the directory": {[]string{"etcd", dir + "/etcd"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := belongsTo(tt.args, dir); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}

func TestCleanRemovesNothingButAClustersDirectory(t *testing.T) {
	tests := map[string]func(dir string) string{
		"a record whose owner ended before it wrote":   func(string) string { return "" },
		"a record that names some other directory":     func(dir string) string { return dir },
		"a record that names a path that is not whole": func(string) string { return dirPrefix + "1" },
	}
	for name, content := range tests {
		t.Run(name, func(t *testing.T) {
			running, precious := records{dir: t.TempDir()}, t.TempDir()
			record := filepath.Join(running.dir, "1"+recordSuffix)
			if err := os.WriteFile(record, []byte(content(precious)), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := running.clean(t.Context(), newProgress(testLog{t})); err != nil {
				t.Fatal(err)
			}
			if !exists(precious) || exists(record) {
				t.Errorf("directory there: %t, record there: %t; want only the directory", exists(precious), exists(record))
			}
		})
	}
}
