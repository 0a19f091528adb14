package imagepullsecret

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

func version(uid, resourceVersion string, selected int32) *v1alpha1.ImagePullSecret {
	return &v1alpha1.ImagePullSecret{
		ObjectMeta: metav1.ObjectMeta{Name: "pull", UID: types.UID(uid), ResourceVersion: resourceVersion},
		Status:     v1alpha1.ImagePullSecretStatus{Targets: v1alpha1.TargetCounts{Selected: selected}},
	}
}

// The cache is some milliseconds behind what was written. A status that
// compares with the cache's would leave what the write before put there.
func TestAStatusIsComparedWithTheOneWrittenLast(t *testing.T) {
	wrote := version("1", "100", 3)
	for name, test := range map[string]struct {
		cached *v1alpha1.ImagePullSecret
		want   int32
	}{
		"a cache that is behind":               {version("1", "99", 2), 3},
		"fewer digits":                         {version("1", "8", 2), 3},
		"a cache that has the write":           {version("1", "100", 3), 3},
		"a cache that is ahead":                {version("1", "101", 4), 4},
		"another object of the same name":      {version("2", "99", 5), 5},
		"a version of which no order is known": {version("1", "x", 6), 6},
	} {
		t.Run(name, func(t *testing.T) {
			var m written
			m.wrote(wrote)
			for range 2 { // the answer does not depend on having been asked
				if got := m.newest(test.cached).Status.Targets.Selected; got != test.want {
					t.Errorf("%d namespaces are selected, want %d", got, test.want)
				}
			}
		})
	}
}

func TestWhatIsRememberedOfAWriteIsNotChangedByItsReaders(t *testing.T) {
	var m written
	m.wrote(version("1", "100", 3))
	m.newest(version("1", "99", 2)).Status.Targets.Selected = 7
	if got := m.newest(version("1", "99", 2)).Status.Targets.Selected; got != 3 {
		t.Errorf("%d namespaces are selected, want 3", got)
	}
	m.newest(version("1", "101", 4))
	if len(m.objects) != 0 {
		t.Error("a write that the cache has seen is kept")
	}
}
