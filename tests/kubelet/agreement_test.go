package kubelet

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"k8s.io/kubernetes/pkg/credentialprovider"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
)

// expectAgreement checks that the Secret that the project makes of entries
// gives the kubelet, for each image, exactly the logins of the entries that the
// project uses, in the same order, and that the project knows whether there are
// any; and that those left out are of no use to the kubelet, or refused. Images
// that fit the keys join those given.
func expectAgreement(t *testing.T, source entries, images ...string) {
	t.Helper()
	logins, problems, err := dockerconfig.Parse(source.document())
	if err != nil || len(logins)+len(problems) != len(source) {
		t.Fatalf("of %s came %d logins, the problems %v and the error %v", source.document(), len(logins), problems, err)
	}
	merged, shadowed := dockerconfig.Merge([]dockerconfig.Source{{Name: "source", Logins: logins}})
	if len(shadowed) > 0 {
		t.Fatalf("of the logins of %s, %v are shadowed by one another", source.document(), shadowed)
	}
	written := mustKeyring(t, dockerconfig.Marshal(merged))
	used, unused := entries{}, entries{}
	for key := range source {
		if _, ok := logins[key]; ok {
			used[key] = source[key]
		} else {
			unused[key] = source[key]
		}
	}
	read := mustKeyring(t, used.document())
	images = append(imagesOf(source), images...)
	for _, image := range images {
		if diff := cmp.Diff(lookup(t, read, image), lookup(t, written, image)); diff != "" {
			t.Errorf("%s gives other logins for %s (-it alone, +the project's Secret):\n%s", used.document(), image, diff)
		}
		if tried := len(lookup(t, written, image)) > 0; merged.Match(image) != tried {
			t.Errorf("that %s has a login for %s is %t for the kubelet, but not for the project", used.document(), image, tried)
		}
	}
	for key := range unused {
		if isRefused(key) {
			continue
		}
		if opened := matchedBy(t, unused, key, images, isPullable); len(opened) > 0 && !coveredBy(t, used, opened, images) {
			t.Errorf("%q is left out of %s: %v, but opens %v", key, source.document(), problems, opened)
		}
	}
}

// refused are the keys that the project leaves out although the kubelet would
// pull some image with them, because they hardly mean that image.
var refused = map[string]struct {
	keys    *regexp.Regexp
	example string
	image   string
}{
	"a part that the kubelet drops": {
		regexp.MustCompile(`[@?#%]`), "reg.io/team?x", "reg.io/team/app"},
	"an API path without its closing slash, which the kubelet takes for the beginning of repositories' names": {
		regexp.MustCompile(`/v[12]$`), "https://reg.io/v2", "reg.io/v2ray/app"},
	"the host of Docker Hub's API, by which hardly anyone calls an image": {
		regexp.MustCompile(`^(https?://)?registry-1\.docker\.io(/|$)`), "registry-1.docker.io", "registry-1.docker.io/team/app"},
	"an underscore in the host, which no host name on the internet has": {
		regexp.MustCompile(`^(https?://)?[^/]*_`), "my_registry.example", "my_registry.example/app"},
	"a host in capitals, which works only for images that have it in capitals too": {
		regexp.MustCompile(`^(https?://)?[^/]*[A-Z]`), "REG.io", "REG.io/team/app"},
}

func TestTheProjectRefusesKeysThatHardlyMeanTheImageThatTheyOpen(t *testing.T) {
	for name, test := range refused {
		t.Run(name, func(t *testing.T) {
			source := entries{test.example: entry("ada", "pw")}
			if !test.keys.MatchString(test.example) || len(lookup(t, mustKeyring(t, source.document()), test.image)) == 0 {
				t.Errorf("%q does not open %s", test.example, test.image)
			}
			if logins, problems, err := dockerconfig.Parse(source.document()); len(logins) > 0 || len(problems) != 1 || err != nil {
				t.Errorf("the project makes %v, %v and %v of it", logins, problems, err)
			}
		})
	}
}

func isRefused(key string) bool {
	for _, r := range refused {
		if r.keys.MatchString(key) {
			return true
		}
	}
	return false
}

// matchedBy returns the images for which the kubelet takes a login that counts
// out of one entry alone.
func matchedBy(t *testing.T, e entries, key string, images []string, counts func(dockerconfig.Login) bool) []string {
	t.Helper()
	alone, err := keyring(entries{key: e[key]}.document())
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(images), func(image string) bool {
		return !slices.ContainsFunc(lookup(t, alone, image), counts)
	})
}

// isPullable tells the logins that container runtimes take for one: those of
// two texts that are not empty.
func isPullable(l dockerconfig.Login) bool {
	return l.Username != "" && l.Password != "" && utf8.ValidString(l.Username) && utf8.ValidString(l.Password)
}

// coveredBy says whether one of the entries is for exactly the opened ones
// among the images: for the same registry, with whatever login. Images of localhost don't count: by
// its fallback, the kubelet tries index.docker.io's login for them too.
func coveredBy(t *testing.T, e entries, opened, images []string) bool {
	t.Helper()
	isLocal := func(image string) bool { return strings.HasPrefix(image, "localhost/") }
	for key := range e {
		covered := matchedBy(t, e, key, images, func(dockerconfig.Login) bool { return true })
		if slices.Equal(slices.DeleteFunc(covered, isLocal), slices.DeleteFunc(slices.Clone(opened), isLocal)) {
			return true
		}
	}
	return false
}

// imagesOf returns images whose names fit the keys of entries, and some that
// fit many.
func imagesOf(e entries) []string {
	images := []string{"nginx", "team/app", "localhost/app", "reg.io/a", "a.reg.io/team/app", "reg.io:5000/team/app"}
	for key := range e {
		rest := strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
		rest, _, _ = strings.Cut(rest, "?")
		host, path, _ := strings.Cut(strings.ReplaceAll(rest, "*", "x"), "/")
		for _, path := range []string{path, strings.TrimPrefix(strings.TrimPrefix(path, "v1/"), "v2/")} {
			images = append(images, host+"/"+path, host+"/"+path+"a", host+"/"+path+"/a", host+"/a")
		}
	}
	images = slices.DeleteFunc(images, func(image string) bool { _, ok := nameOf(image); return !ok })
	slices.Sort(images)
	return slices.Compact(images)
}

// Parts of keys, most of which fit one another's images.
var (
	schemes = []string{"", "", "", "https://", "http://"}
	hosts   = []string{
		"reg.io", "reg.io", "a.reg.io", "*.reg.io", "a.*.io", "*.*.io", "*.*", "r*g.io", "reg.io:5000", "*.io:5000",
		"localhost", "*", "lo*", "[::1]:5000", "[::1]", "registry", "docker.io", "index.docker.io", "registry-1.docker.io", "reg_.io", "REG.io", "",
	}
	paths = []string{"", "", "", "/", "/v1", "/v2", "/v1/", "/v2/", "/te", "/team", "/team/", "/team/app", "/v2/team", "/v1/team/", "/v2/library", "/library", "/*/app", "/team//app", "/Team"}
	noise = []string{"@", "?", "#", "%", "%2F", "%61", "%3F", "[", "]", "*", ":", "::", "\\", " ", "é", "/", "//", ".", "-", "_"}
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// randomKey makes a key, sometimes with something in it that does not belong.
func randomKey(r *rand.Rand) string {
	key := pick(r, schemes) + pick(r, hosts) + pick(r, paths)
	if r.IntN(6) == 0 {
		at := r.IntN(len(key) + 1)
		key = key[:at] + pick(r, noise) + key[at:]
	}
	return key
}

// randomEntry makes an entry that holds a login of its own, in one of the forms
// that there are, or none that is of use.
func randomEntry(r *rand.Rand, number int) []byte {
	user, password := fmt.Sprintf("user-%d", number), fmt.Sprintf("password:%d", number)
	auth := strings.Trim(string(entryWithAuth(user, password)), "{}")
	return pick(r, [][]byte{
		entry(user, password), entry(user, password), entry(user, password),
		entryWithAuth(user, password), entryWithAuth(user, password),
		[]byte(`{"username":"eve","password":"no",` + auth + `,"email":"e@x.io"}`),
		[]byte(`{` + strings.Trim(strings.ReplaceAll(auth, "=", ""), "{}") + `,"identitytoken":"t"}`),
		entry(user, ""), entry("", password), entry(user+":", password), entry(user, "\u2028<&>>>>???é"),
		entryWithAuth(user, ""), entryWithAuth("", password), entryWithAuth(user, "\xff"), entryWithAuth(":", ""),
		object("auth", "!"), object("auth", "YTpiPz8_"), object("auth", "c2VjcmV0"), object("auth", " YTpi"), object("auth", "YTpi\n"),
		object("identitytoken", "t"), object("auth", "dTo=", "identitytoken", "t"), object(), []byte(`null`), []byte(`[]`), []byte(`"x"`),
	})
}

const randomDocuments = 3000

func TestTheProjectsSecretGivesTheKubeletTheLoginsOfItsSource(t *testing.T) {
	for seed := range uint64(randomDocuments) {
		r := rand.New(rand.NewPCG(seed, 1))
		source := entries{}
		for number := range 1 + r.IntN(6) {
			source[randomKey(r)] = randomEntry(r, number)
		}
		if expectAgreement(t, source); t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

// Of several sources, the first one's login for a registry is used: as if each
// source were a pull secret of its own and the Pod listed them in that order.
func TestMergedSourcesGiveTheLoginThatSeparatePullSecretsWouldGive(t *testing.T) {
	shadowings := 0
	for seed := range uint64(randomDocuments) {
		r := rand.New(rand.NewPCG(seed, 2))
		var sources []dockerconfig.Source
		var separate [][]byte
		all := entries{}
		for i := range 2 + r.IntN(4) {
			source := dockerconfig.Source{Name: fmt.Sprint(i), Logins: randomLogins(t, r, i)}
			sources, separate = append(sources, source), append(separate, dockerconfig.Marshal(source.Logins))
			for key := range source.Logins {
				all[key] = object()
			}
		}
		merged, shadowed := dockerconfig.Merge(sources)
		shadowings += len(shadowed)
		expectMerged(t, mustKeyring(t, separate...), mustKeyring(t, dockerconfig.Marshal(merged)), hidden(sources, shadowed), imagesOf(all))
		if t.Failed() {
			t.Fatalf("with seed %d: %v", seed, sources)
		}
	}
	if shadowings < randomDocuments/10 {
		t.Errorf("only %d logins were shadowed, too few to show anything", shadowings)
	}
}

// otherOrder are keys that the project takes for the same registry as another
// spelling, so that the first source wins, while the kubelet has an order of
// its own: Docker Hub's second name comes last, and a host with a colon but no
// port before the host alone.
var otherOrder = regexp.MustCompile(`index\.docker\.io|:(/[^/]|/?$)`)

// randomLogins makes what one source gives: logins that no other source has.
func randomLogins(t *testing.T, r *rand.Rand, source int) dockerconfig.Logins {
	t.Helper()
	made := entries{}
	for number := range 1 + r.IntN(8) {
		key := randomKey(r)
		for otherOrder.MatchString(key) {
			key = randomKey(r)
		}
		made[key] = entry(fmt.Sprintf("user-%d-%d", source, number), "password")
	}
	logins, _, err := dockerconfig.Parse(made.document())
	if err != nil {
		t.Fatal(err)
	}
	return logins
}

// hidden returns the logins that were shadowed.
func hidden(sources []dockerconfig.Source, shadowed []dockerconfig.Shadowed) map[dockerconfig.Login]bool {
	logins := map[dockerconfig.Login]bool{}
	for _, source := range sources {
		for _, s := range shadowed {
			if s.Source == source.Name {
				logins[source.Logins[s.Key]] = true
			}
		}
	}
	return logins
}

// expectMerged checks that of what separate pull secrets give, merged gives all
// but the shadowed logins, and the first one in any case.
func expectMerged(t *testing.T, separate, merged credentialprovider.DockerKeyring, shadowed map[dockerconfig.Login]bool, images []string) {
	t.Helper()
	for _, image := range images {
		want, got := lookup(t, separate, image), lookup(t, merged, image)
		if len(want) > 0 && (len(got) == 0 || got[0] != want[0]) {
			t.Errorf("for %s the kubelet tries %v first, with separate pull secrets %v", image, got, want)
		}
		want = slices.DeleteFunc(want, func(login dockerconfig.Login) bool { return shadowed[login] })
		if !slices.Equal(want, got) {
			t.Errorf("for %s the kubelet tries %v, want %v", image, got, want)
		}
	}
}

func FuzzAgreement(f *testing.F) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		f.Add(randomKey(r), randomKey(r), "user", "password", "dXNlcjpwYXNzd29yZA==", "reg.io/team/app")
	}
	f.Add("reg.io", "https://reg.io/v1/", "a:b", "c", "YTpi\n", "reg.io/v1/a")
	f.Fuzz(func(t *testing.T, key, other, user, password, auth, image string) {
		var images []string
		if _, ok := nameOf(image); ok {
			images = append(images, image)
		}
		for _, text := range []string{key, other, user, password} {
			if !utf8.ValidString(text) {
				t.Skip("JSON holds no such text")
			}
		}
		expectAgreement(t, entries{key: entry(user, password), other: object("auth", auth)}, images...)
		expectAgreement(t, entries{key: object("auth", auth, "username", user, "password", password)}, images...)
	})
}
