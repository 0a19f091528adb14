package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/dockerconfig"
)

// loginHistory notes which login came to stand where, and when, by a watch on
// the operator's Secrets.
type loginHistory struct {
	mu        sync.Mutex
	documents map[string]map[string]fingerprint // hash of a content → registry → login
	seen      map[string]map[string][]sighting  // registry → namespace → logins as they came
	problem   error
}

// sighting is the first time that a login was seen in a namespace.
type sighting struct {
	login fingerprint
	at    time.Time
}

// watchLogins returns a history that has seen what is there.
func watchLogins(ctx context.Context, config *rest.Config) (*loginHistory, error) {
	config.ContentType = runtime.ContentTypeProtobuf // the Secrets are big
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	h := &loginHistory{documents: map[string]map[string]fingerprint{}, seen: map[string]map[string][]sighting{}}
	factory := informers.NewSharedInformerFactoryWithOptions(api, 0, informers.WithTweakListOptions(func(options *metav1.ListOptions) {
		options.LabelSelector = v1alpha1.LabelOwnerUID
	}))
	return h, follow(ctx, factory.Core().V1().Secrets().Informer(), "Secrets", h.stands, nil)
}

func (h *loginHistory) stands(object any) {
	secret, ok := object.(*corev1.Secret)
	if !ok {
		return
	}
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	hash := secret.Annotations[v1alpha1.AnnotationContentHash]
	document, known := h.documents[hash]
	if !known {
		logins, _, err := dockerconfig.Parse(secret.Data[corev1.DockerConfigJsonKey])
		h.problem = errors.Join(h.problem, err)
		document = make(map[string]fingerprint, len(logins))
		for registry, login := range logins {
			document[registry] = fingerprintOf(login.Password)
		}
		h.documents[hash] = document
	}
	for registry, login := range document {
		if h.seen[registry] == nil {
			h.seen[registry] = map[string][]sighting{}
		}
		sightings := h.seen[registry][secret.Namespace]
		if len(sightings) == 0 || sightings[len(sightings)-1].login != login {
			h.seen[registry][secret.Namespace] = append(sightings, sighting{login, now})
		}
	}
}

// standing counts the logins that stand, one for each registry and namespace.
func (h *loginHistory) standing() (count int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, namespaces := range h.seen {
		count += len(namespaces)
	}
	return count
}

// renewal is a login that took the place of an earlier one.
type renewal struct {
	issued time.Time
	// took is the time from the beginning of the exchange, when the login was
	// issued, until it or a later one stood in every namespace.
	took time.Duration
	// life is the earlier login's, left what remained of it then; less
	// than 0 if it had ended.
	life, left time.Duration
}

// part is what was left of the earlier login's life, as a part of it.
func (r renewal) part() float64 { return float64(r.left) / float64(r.life) }

func (r renewal) seconds() float64 { return r.took.Seconds() }

// unpersisted is how long a login may stand before it is persisted.
const unpersisted = 4 * bookInterval

// renewals returns all that are complete, and how many are not. It adds to the
// book what is persisted.
func (h *loginHistory) renewals(ctx context.Context, w *world, book leaseBook) (complete []renewal, pending int, err error) {
	seen, err := h.sofar()
	if err = errors.Join(err, book.read(ctx, w)); err != nil {
		return nil, 0, err
	}
	for registry, namespaces := range seen {
		leases, unknown := leasesOf(namespaces, book)
		if !unknown.IsZero() {
			if time.Since(unknown) > unpersisted {
				return nil, 0, fmt.Errorf("a login for %s was not persisted, or not for long enough to be seen", registry)
			}
			pending++
		}
		for i := 1; i < len(leases); i++ {
			before, after := leases[i-1], leases[i]
			at, everywhere := stoodEverywhere(namespaces, book, after)
			if !everywhere {
				pending++
				continue
			}
			complete = append(complete, renewal{issued: after.issued, took: at.Sub(after.issued), life: before.life(), left: before.expires.Sub(at)})
		}
	}
	return complete, pending, nil
}

// sofar returns what was seen until now, and what was wrong with it.
func (h *loginHistory) sofar() (map[string]map[string][]sighting, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := make(map[string]map[string][]sighting, len(h.seen))
	for registry, namespaces := range h.seen {
		seen[registry] = maps.Clone(namespaces) // what is in the slices stays as it is
	}
	return seen, h.problem
}

// leasesOf returns the leases of a registry in their order, and since when a
// login stands that the book does not know; zero if it knows them all.
func leasesOf(namespaces map[string][]sighting, book leaseBook) (leases []lease, unknown time.Time) {
	known := map[lease]bool{}
	for _, sightings := range namespaces {
		for _, s := range sightings {
			if found, ok := book[s.login]; ok {
				known[found] = true
			} else if unknown.IsZero() || s.at.Before(unknown) {
				unknown = s.at
			}
		}
	}
	return slices.SortedFunc(maps.Keys(known), func(a, b lease) int { return a.issued.Compare(b.issued) }), unknown
}

// stoodEverywhere returns when the last namespace came to have a login that is
// as new as a lease, and whether all have.
func stoodEverywhere(namespaces map[string][]sighting, book leaseBook, as lease) (at time.Time, everywhere bool) {
	for _, sightings := range namespaces {
		first := slices.IndexFunc(sightings, func(s sighting) bool { return !book[s.login].issued.Before(as.issued) })
		if first < 0 {
			return time.Time{}, false
		}
		if sightings[first].at.After(at) {
			at = sightings[first].at
		}
	}
	return at, true
}
