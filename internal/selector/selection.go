// Package selector decides which namespaces, and which ServiceAccounts in them,
// the rules of an ImagePullSecret's spec.target select.
package selector

import "k8s.io/apimachinery/pkg/labels"

// Selection is the compiled rules of one target. It is immutable and may be
// used by several goroutines. The zero value selects nothing.
type Selection struct {
	include rules
	exclude rules
	pods    rules
	// brokenExclusion is the path of an exclusion rule that can't be
	// evaluated. While there is one, every namespace is excluded.
	brokenExclusion string
}

// Namespace is what a Selection looks at in a namespace.
type Namespace struct {
	Name        string
	Labels      map[string]string
	Annotations map[string]string
}

// subject is what rules look at, of whatever kind it is.
type subject = Namespace

// Verdict is what a Selection decides on a namespace.
type Verdict int

const (
	// Excluded means that an exclusion rule matches, or that one can't be
	// evaluated. No Pod changes that.
	Excluded Verdict = iota + 1
	// ByRule means that a rule of spec.target.namespaces selects it, whatever
	// its Pods.
	ByRule
	// NeedsPod means that no rule of spec.target.namespaces selects it, but
	// that one Pod for which Selection.Pod is true does.
	NeedsPod
	// NotSelected means that nothing selects it, whatever its Pods.
	NotSelected
)

// String returns the verdict's name.
func (v Verdict) String() string {
	switch v {
	case Excluded:
		return "Excluded"
	case ByRule:
		return "ByRule"
	case NeedsPod:
		return "NeedsPod"
	case NotSelected:
		return "NotSelected"
	}
	return "no verdict"
}

// Namespace decides on a namespace without looking at its Pods.
func (s Selection) Namespace(ns Namespace) Verdict {
	switch {
	case s.brokenExclusion != "", s.exclude.match(ns) != nil:
		return Excluded
	case s.include.match(ns) != nil:
		return ByRule
	case s.HasPodRules():
		return NeedsPod
	}
	return NotSelected
}

// HasPodRules reports whether Pods can select a namespace at all.
func (s Selection) HasPodRules() bool { return len(s.pods.labels)+len(s.pods.annotations) > 0 }

// Pod reports whether a Pod with these labels and annotations selects its
// namespace, provided that the verdict on the namespace is NeedsPod.
func (s Selection) Pod(labels, annotations map[string]string) bool {
	return s.pods.match(subject{Labels: labels, Annotations: annotations}) != nil
}

// Why says in one sentence what the verdict on a namespace rests on: the path
// of the rule, and for a name also the rule itself.
func (s Selection) Why(ns Namespace) string {
	if s.brokenExclusion != "" {
		return "excluded, because " + s.brokenExclusion + " can't be evaluated"
	}
	if rule := s.exclude.match(ns); rule != nil {
		return "excluded by " + rule.String()
	}
	if rule := s.include.match(ns); rule != nil {
		return "selected by " + rule.String()
	}
	if s.HasPodRules() {
		return "selected only by a Pod that spec.target.namespacesWithPods matches"
	}
	return "no rule of spec.target selects it"
}

// rules are alternatives: one match is enough.
type rules struct {
	names       map[string]*rule // exact names, which may be a thousand
	globs       []globRule
	labels      []labelRule
	annotations []annotationRule
}

// match returns a rule that matches, nil if none does. It does not allocate.
func (r *rules) match(of subject) *rule {
	if exact, found := r.names[of.Name]; found {
		return exact
	}
	for i := range r.globs {
		if r.globs[i].matches(of.Name) {
			return &r.globs[i].rule
		}
	}
	for i := range r.labels {
		if r.labels[i].selector.Matches(labels.Set(of.Labels)) {
			return &r.labels[i].rule
		}
	}
	for i := range r.annotations {
		if r.annotations[i].matches(of.Annotations) {
			return &r.annotations[i].rule
		}
	}
	return nil
}

// rule tells people which rule it is.
type rule struct {
	path string
	text string // quoted; "" where the path has to do
}

// String returns the rule's path, and its text if there is one.
func (r *rule) String() string {
	if r.text == "" {
		return r.path
	}
	return r.path + " " + r.text
}

// labelRule is a selector on labels.
type labelRule struct {
	rule
	selector labels.Selector
}
