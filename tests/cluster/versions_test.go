package cluster

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEachKubernetesIsBuiltOfItsOwnModuleFile(t *testing.T) {
	for _, version := range append(slices.Clone(olderKubernetes), newestKubernetes) {
		t.Run(version, func(t *testing.T) {
			t.Setenv(VersionVariable, version)
			wanted := must[software](t)(wantedKubernetes())
			flags := must[[]string](t)(wanted.buildFlags(wanted.module))
			says := "/version.gitVersion=v" + version + "."
			if !slices.ContainsFunc(flags, func(flag string) bool { return strings.Contains(flag, says) }) {
				t.Errorf("it is built with %q, and says of itself nothing like %s", flags, says)
			}
			older := version != newestKubernetes
			if asked := slices.Contains(flags, "-modfile=kubernetes-"+version+".mod"); asked != older {
				t.Errorf("it is built with %q", flags)
			}
			if mod, sum := wanted.modFiles(wanted.module); !exists(mod) || !exists(sum) {
				t.Errorf("there is no %s or no %s", mod, sum)
			}
		})
	}
	if files := must[[]string](t)(filepath.Glob("kubernetes/*.mod")); len(files) != len(olderKubernetes)+1 {
		t.Errorf("there are %q, for %q and %s", files, olderKubernetes, newestKubernetes)
	}
}

func TestWithoutAWishKubernetesIsTheNewest(t *testing.T) {
	t.Setenv(VersionVariable, "")
	if wanted := must[software](t)(wantedKubernetes()); wanted.modFile != "" || wanted.tags != "" {
		t.Errorf("it is built of %q with the tags %q", wanted.modFile, wanted.tags)
	}
}

func TestStartRefusesAVersionThatItCannotServe(t *testing.T) {
	for sentence, test := range map[string]struct {
		version, assets string
		options         Options
		want            string
	}{
		"one that there is not": {"1.29", "", Options{}, `KUBERNETES_VERSION is "1.29", and what can be built is 1.30, 1.33, 1.35 and 1.37`},
		"a patch":               {"1.30.14", "", Options{}, `KUBERNETES_VERSION is "1.30.14"`},
		"one beside binaries":   {"1.30", "assets", Options{}, "unset one of them"},
		"one without a node":    {"1.30", "", Options{Node: true}, "a node needs 1.37"},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Setenv(VersionVariable, test.version)
			t.Setenv(assetsVariable, test.assets)
			if _, err := Start(t.Context(), test.options); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}
