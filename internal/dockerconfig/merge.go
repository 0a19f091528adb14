package dockerconfig

// Source is what one credential source gives.
type Source struct {
	// Name tells the source to people.
	Name   string
	Logins Logins
}

// Shadowed is a login that Merge did not use.
type Shadowed struct {
	// Key is the login's key in its source.
	Key string
	// Source is the name of the login's source.
	Source string
	// Winner is the name of the source that comes first and has a login for
	// the same registry; it is Source itself when two of its own keys name
	// one registry.
	Winner string
}

// Merge puts the logins of all sources into one, and leaves the sources as
// they are. The first source that has a login for a registry gives it, under
// that source's own key; within a source the shorter key does. Two keys are
// for the same registry if the kubelet files them under the same host, port
// and path. The same sources give the same result, and what is shadowed is
// listed in order of the sources, then of the keys' length and text.
func Merge(sources []Source) (Logins, []Shadowed) {
	merged := Logins{}
	var shadowed []Shadowed
	winners := map[string]string{} // registry -> name of the source
	for _, source := range sources {
		for _, key := range shortestFirst(source.Logins) {
			registry, err := registryOf(key)
			if err != nil {
				registry = key // no image matches it, so it equals only itself
			}
			if winner, taken := winners[registry]; taken {
				shadowed = append(shadowed, Shadowed{Key: key, Source: source.Name, Winner: winner})
				continue
			}
			winners[registry] = source.Name
			merged[key] = source.Logins[key]
		}
	}
	return merged, shadowed
}
