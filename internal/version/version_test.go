package version

import (
	"runtime/debug"
	"testing"
)

func TestABuildIsKnownFromTheLinkerAndElseFromGo(t *testing.T) {
	const hash, time = "5f3c0d1e2b4a69788796a5b4c3d2e1f001122334", "2026-11-20T10:00:00Z"
	checkout := func(modified string) *debug.BuildInfo {
		return &debug.BuildInfo{
			Main: debug.Module{Version: "v0.0.0-20261120100000-5f3c0d1e2b4a"},
			Settings: []debug.BuildSetting{
				{Key: "vcs.revision", Value: hash}, {Key: "vcs.time", Value: time}, {Key: "vcs.modified", Value: modified},
			},
		}
	}
	cases := map[string]struct {
		linked    build
		info      *debug.BuildInfo
		want      build
		described string
	}{
		"the linker was told everything": {
			linked: build{"v1.2.3", "abc", "2026-01-02T03:04:05Z"}, info: checkout("true"),
			want:      build{"v1.2.3", "abc", "2026-01-02T03:04:05Z"},
			described: "v1.2.3 (commit abc, 2026-01-02T03:04:05Z)",
		},
		"the linker was told the version only": {
			linked: build{version: "v1.2.3"}, info: checkout("false"),
			want:      build{"v1.2.3", hash, time},
			described: "v1.2.3 (commit " + hash + ", " + time + ")",
		},
		"go build in a checkout": {
			info:      checkout("false"),
			want:      build{"v0.0.0-20261120100000-5f3c0d1e2b4a", hash, time},
			described: "v0.0.0-20261120100000-5f3c0d1e2b4a (commit " + hash + ", " + time + ")",
		},
		"go build in a checkout with changes": {
			info:      checkout("true"),
			want:      build{"v0.0.0-20261120100000-5f3c0d1e2b4a", hash + "-dirty", time},
			described: "v0.0.0-20261120100000-5f3c0d1e2b4a (commit " + hash + "-dirty, " + time + ")",
		},
		"go install of a version": {
			info:      &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}},
			want:      build{version: "v1.2.3"},
			described: "v1.2.3",
		},
		"go build without a checkout": {
			info:      &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}},
			want:      build{version: "dev"},
			described: "dev",
		},
		"a date without a commit": {
			linked: build{version: "v1.2.3", date: time}, want: build{version: "v1.2.3", date: time},
			described: "v1.2.3 (" + time + ")",
		},
		"nobody noted anything": {want: build{version: "dev"}, described: "dev"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := resolve(c.linked, c.info)
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if got.describe() != c.described {
				t.Errorf("described as %q, want %q", got.describe(), c.described)
			}
		})
	}
}
