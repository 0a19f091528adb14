package selector

import (
	"path"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// globRule is a pattern on names. The pattern is well-formed.
type globRule struct {
	rule
	pattern string
}

// matches reports whether the pattern matches the whole name.
func (g *globRule) matches(name string) bool {
	matched, _ := path.Match(g.pattern, name) // fails only on a bad pattern
	return matched
}

// compileNames compiles exact names and patterns.
func compileNames(names []string, at *field.Path) (exact map[string]*rule, globs []globRule, errs field.ErrorList) {
	exact = make(map[string]*rule, len(names))
	for i, name := range names {
		entry := rule{path: at.Index(i).String(), text: strconv.Quote(name)}
		if !strings.ContainsAny(name, `*?[\`) {
			if exact[name] == nil {
				exact[name] = &entry
			}
			continue
		}
		// Match checks the whole pattern, whatever the name.
		if _, err := path.Match(name, ""); err != nil {
			errs = append(errs, field.Invalid(at.Index(i), name,
				`not a pattern: every "[" needs a closing "]" with something between them, and "\" a character after it`))
			continue
		}
		globs = append(globs, globRule{rule: entry, pattern: name})
	}
	return exact, globs, errs
}
