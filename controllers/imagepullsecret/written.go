package imagepullsecret

import (
	"sync"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// written remembers objects as the last write of their status left them, until
// the cache has them too. The zero value is empty and ready; it is safe for
// concurrent use.
type written struct {
	mu      sync.Mutex
	objects map[string]*v1alpha1.ImagePullSecret
}

// wrote notes an object as the API server returned it from a write.
func (w *written) wrote(object *v1alpha1.ImagePullSecret) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.objects == nil {
		w.objects = map[string]*v1alpha1.ImagePullSecret{}
	}
	w.objects[object.Name] = object.DeepCopy()
}

// gone forgets an object.
func (w *written) gone(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.objects, name)
}

// newest returns the later of an object that a cache holds and what was written
// of it last. A status that is compared with one from before the last write is
// held for written when it is not, or is patched in only some of its fields.
func (w *written) newest(cached *v1alpha1.ImagePullSecret) *v1alpha1.ImagePullSecret {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.objects[cached.Name]
	if last == nil {
		return cached
	}
	order, err := resourceversion.CompareResourceVersion(cached.ResourceVersion, last.ResourceVersion)
	if err != nil || order >= 0 || cached.UID != last.UID {
		delete(w.objects, cached.Name)
		return cached
	}
	return last.DeepCopy()
}
