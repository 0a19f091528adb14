package tokenexchange

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/internal/exchange/exchangetest"
	"github.com/imagepullsecrets/operator/providers"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	long := strings.Repeat("x", maxText+1)
	for name, test := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"everything empty is told at once": {
			func(c *Config) { *c = Config{} },
			[]string{"endpoint is empty", "registries must have 1 to 20 entries", "serviceAccount.name is empty", "serviceAccount.namespace is empty", "tokenAudience is empty"},
		},
		"a ServiceAccount with no UID": {func(c *Config) { c.ServiceAccount.UID = " " }, []string{`serviceAccount "registry-access/puller" has no UID: does it exist?`}},
		"white space is empty":         {func(c *Config) { c.TokenAudience = " \n" }, []string{"tokenAudience is empty"}},
		"an endpoint without TLS":      {func(c *Config) { c.Endpoint = "http://sso.example.com/token" }, []string{"endpoint must be an https:// URL"}},
		"an endpoint without scheme":   {func(c *Config) { c.Endpoint = "sso.example.com/token" }, []string{"endpoint must be an https:// URL"}},
		"an endpoint that is no URL":   {func(c *Config) { c.Endpoint = "https://sso.example.com/%zz" }, []string{"endpoint must be an https:// URL"}},
		"a very long endpoint":         {func(c *Config) { c.Endpoint = "https://sso.example.com/" + long }, []string{"endpoint must be an https:// URL"}},
		"an endpoint with a password":  {func(c *Config) { c.Endpoint = "https://me:planted@sso.example.com/token" }, []string{"endpoint must not hold a user or a password"}},
		"an endpoint with a fragment":  {func(c *Config) { c.Endpoint = "https://sso.example.com/token#x" }, []string{"must not have a fragment"}},
		"an empty fragment":            {func(c *Config) { c.Endpoint = "https://sso.example.com/token#" }, []string{"must not have a fragment"}},
		"an endpoint without a host":   {func(c *Config) { c.Endpoint = "https:///token" }, []string{"endpoint's host must be"}},
		"a host that is none":          {func(c *Config) { c.Endpoint = "https://sso_example,com/token" }, []string{"endpoint's host must be"}},
		"an endpoint's port of 0":      {func(c *Config) { c.Endpoint = "https://sso.example.com:0/token" }, []string{"port must be between 1 and 65535"}},
		"an endpoint's port too high":  {func(c *Config) { c.Endpoint = "https://sso.example.com:65536/token" }, []string{"port must be between 1 and 65535"}},

		"too many registries":      {func(c *Config) { c.Registries = make([]string, 21) }, []string{"registries must have 1 to 20 entries"}},
		"a registry for many":      {func(c *Config) { c.Registries = []string{"a.example.com", "*.example.com"} }, []string{`registries[1] must name one host, without "*"`}},
		"a registry twice":         {func(c *Config) { c.Registries = []string{"a.example.com", "a.example.com "} }, []string{"registries[1] repeats another one"}},
		"a registry in two forms":  {func(c *Config) { c.Registries = []string{"a.example.com", "https://a.example.com"} }, []string{`registries: entry "https://a.example.com"`, "is for the same registry"}},
		"a registry in capitals":   {func(c *Config) { c.Registries = []string{"A.example.com"} }, []string{`entry "A.example.com": registry hosts are lower case for the kubelet`}},
		"a registry with a login":  {func(c *Config) { c.Registries = []string{"me:planted@a.example.com"} }, []string{`entry "***@a.example.com"`}},
		"an empty registry":        {func(c *Config) { c.Registries = []string{" "} }, []string{"the key is empty"}},
		"a registry with glob's ?": {func(c *Config) { c.Registries = []string{"a?.example.com"} }, []string{`registries: entry "a?.example.com"`}},

		"a very long audience":              {func(c *Config) { c.TokenAudience = long }, []string{"tokenAudience is longer than 2048 bytes"}},
		"a line break in a value":           {func(c *Config) { c.Audience = "a\nb" }, []string{"audience contains a character that can't be printed"}},
		"a value that is not UTF-8":         {func(c *Config) { c.Resource = "a\xffb" }, []string{"resource contains a character that can't be printed"}},
		"a format that nobody knows":        {func(c *Config) { c.Format = "XML" }, []string{"format must be Form or JSON"}},
		"two scopes in one":                 {func(c *Config) { c.Scopes = []string{"a", "b c"} }, []string{"scopes[1] must be one scope"}},
		"an empty scope":                    {func(c *Config) { c.Scopes = []string{""} }, []string{"scopes[0] must be one scope"}},
		"too many scopes":                   {func(c *Config) { c.Scopes = make([]string, 51) }, []string{"scopes must have at most 50 entries"}},
		"a parameter with its own field":    {func(c *Config) { c.Parameters = map[string]string{"scope": "x"} }, []string{"parameters must not hold scope: set scopes"}},
		"a token among the parameters":      {func(c *Config) { c.Parameters = map[string]string{"subject_token": "x"} }, []string{"parameters must not hold subject_token: set serviceAccount"}},
		"a secret among the parameters":     {func(c *Config) { c.Parameters = map[string]string{"client_secret": "x"} }, []string{"set clientAuthentication.secret"}},
		"a parameter without a name":        {func(c *Config) { c.Parameters = map[string]string{"": "x"} }, []string{"parameters: the name of number 1"}},
		"a parameter's name with a space":   {func(c *Config) { c.Parameters = map[string]string{"a": "1", "b c": "2"} }, []string{"parameters: the name of number 2"}},
		"a parameter on two lines":          {func(c *Config) { c.Parameters = map[string]string{"a": "1\n2"} }, []string{"parameters.a contains a character"}},
		"a client without a method":         {func(c *Config) { c.ClientID, c.ClientSecret = "me", plantedSecret }, []string{"clientAuthentication.method must be Basic or Post"}},
		"a method that nobody knows":        {func(c *Config) { c.ClientAuthentication = "JWT" }, []string{"clientAuthentication.method must be Basic or Post"}},
		"a method without a client":         {func(c *Config) { c.ClientAuthentication = Basic }, []string{"clientAuthentication.clientID is empty", "clientAuthentication.secret's value is empty"}},
		"a secret on two lines":             {func(c *Config) { c.ClientAuthentication, c.ClientID, c.ClientSecret = Post, "me", "planted\nsecret" }, []string{"secret's value must be of at most 2048 ASCII characters"}},
		"a client's id twice":               {func(c *Config) { *c = withClient(*c, Post); c.Parameters = map[string]string{"client_id": "x"} }, []string{"parameters must not hold client_id: set clientAuthentication.clientID"}},
		"a CA bundle that is none":          {func(c *Config) { c.CABundle = "planted" }, []string{"caBundle: holds no certificate in PEM form"}},
		"a user with a colon":               {func(c *Config) { c.Username = "a:b" }, []string{"username must not contain a colon"}},
		"a user of too many letters":        {func(c *Config) { c.Username = strings.Repeat("é", 256) }, []string{"username is longer than 255 characters"}},
		"a path with an empty name":         {func(c *Config) { c.Fields.Token = "a..b" }, []string{"fields.token must be names with dots between them"}},
		"a path that ends with a dot":       {func(c *Config) { c.Fields.ExpiresIn = "a." }, []string{"fields.expiresIn must be"}},
		"a path with a space":               {func(c *Config) { c.Fields.ExpiresAt = "a b" }, []string{"fields.expiresAt must be"}},
		"a path with a control character":   {func(c *Config) { c.Username, c.Fields.Username = "", "a\x00b" }, []string{"fields.username must be"}},
		"too many parameters":               {func(c *Config) { c.Parameters = numbered(21) }, []string{"parameters must have at most 20 entries"}},
		"problems of several kinds at once": {func(c *Config) { c.Endpoint, c.Username = "x", "a:b" }, []string{"endpoint must be", "; username must not"}},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			test.change(&config)
			provider, err := New(config, nil)
			if provider != nil {
				t.Errorf("got a provider: %v", provider)
			}
			checkMessage(t, err, providers.Invalid, test.want...)
		})
	}
}

func numbered(count int) map[string]string {
	values := map[string]string{}
	for i := range count {
		values[fmt.Sprintf("p%d", i)] = "x"
	}
	return values
}

func withClient(config Config, method ClientAuthentication) Config {
	config.ClientAuthentication, config.ClientID, config.ClientSecret = method, "operator@corp/a b", plantedSecret
	return config
}

func TestNewTakesWhatWorks(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"the least":                        func(*Config) {},
		"a query in the endpoint":          func(c *Config) { c.Endpoint = "https://sso.example.com/token?tenant=a" },
		"an endpoint by address":           func(c *Config) { c.Endpoint = "https://[::1]:8443/token" },
		"a registry with port and path":    func(c *Config) { c.Registries = []string{"registry.example.com:5000/team/"} },
		"Docker Hub's own key":             func(c *Config) { c.Registries = []string{"https://index.docker.io/v1/", "dhi.io"} },
		"a client without authentication":  func(c *Config) { c.Parameters = map[string]string{"client_id": "public"} },
		"an empty parameter":               func(c *Config) { c.Parameters = map[string]string{"project_key": ""} },
		"a resource that is no URL":        func(c *Config) { c.Resource = "org+robot" },
		"the most scopes":                  func(c *Config) { c.Scopes = strings.Fields(strings.Repeat("repository:a/b:pull ", 50)) },
		"deep paths":                       func(c *Config) { c.Fields.Token = "data.token.$value" },
		"None, said in so many words":      func(c *Config) { c.ClientAuthentication = None },
		"a user of 255 letters":            func(c *Config) { c.Username = strings.Repeat("é", 255) },
		"a user told by the token's claim": func(c *Config) { c.Username = "" },
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			change(&config)
			if _, err := New(config, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEndpointIsTheHost(t *testing.T) {
	for name, test := range map[string]struct{ endpoint, want string }{
		"a plain one":      {"https://sso.example.com/token", "sso.example.com"},
		"the usual port":   {"https://sso.example.com:443/token", "sso.example.com"},
		"the same, longer": {"https://sso.example.com:0443/token", "sso.example.com"},
		"an empty port":    {"https://sso.example.com:/token", "sso.example.com"},
		"another port":     {"https://sso.example.com:8443/token", "sso.example.com:8443"},
		"capitals":         {"https://SSO.Example.com", "sso.example.com"},
		"an address":       {"https://[::1]:443", "[::1]"},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			config.Endpoint = test.endpoint
			if got := mustNew(t, config).Endpoints()[0]; got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWhiteSpaceAroundValuesIsIgnored(t *testing.T) {
	plain := filled()
	padded := filled()
	visit(reflect.ValueOf(&padded).Elem(), "", func(_ string, text reflect.Value) {
		text.SetString(" " + text.String() + "\r\n")
	})
	if diff := cmp.Diff(plain.trimmed(), padded.trimmed()); diff != "" {
		t.Error(diff)
	}
}

// filled has something in every field, for tests that change each of them.
func filled() Config {
	return Config{
		Endpoint: "https://sso.example.com/token", Registries: []string{"a.example.com", "b.example.com"},
		ServiceAccount: testAccount, TokenAudience: "aud", Format: Form, GrantType: "grant", SubjectTokenType: "subject",
		RequestedTokenType: "requested", Audience: "audience", Resource: "resource", Scopes: []string{"a", "b"},
		Parameters: map[string]string{"p": "1", "q": "2"}, ClientAuthentication: Basic, ClientID: "id", ClientSecret: plantedSecret,
		CABundle: "planted", Username: "user", Fields: Fields{Token: "t", ExpiresIn: "i", ExpiresAt: "a", Username: "u"},
	}
}

// visit calls found for every text in a value, with where it stands. Keys and
// values of maps are changed in a copy that takes the map's place.
func visit(value reflect.Value, where string, found func(where string, text reflect.Value)) {
	switch value.Kind() {
	case reflect.String:
		found(where, value)
	case reflect.Struct:
		for i := range value.NumField() {
			visit(value.Field(i), where+"."+value.Type().Field(i).Name, found)
		}
	case reflect.Slice:
		for i := range value.Len() {
			visit(value.Index(i), fmt.Sprintf("%s[%d]", where, i), found)
		}
	case reflect.Map:
		changed := reflect.MakeMap(value.Type())
		for _, name := range value.MapKeys() {
			element := reflect.New(value.Type().Elem()).Elem()
			element.Set(value.MapIndex(name))
			visit(element, fmt.Sprintf("%s[%s]", where, name), found)
			changed.SetMapIndex(name, element)
		}
		value.Set(changed)
	default:
		panic("don't know how to visit " + where)
	}
}

func TestKeyCoversEveryInput(t *testing.T) {
	exchangetest.CheckKeys(t, filled, Config.key, map[string]exchangetest.Change[Config]{
		"Endpoint": {Set: func(c *Config) { c.Endpoint += "x" }},
		"Registries": {
			Set:         func(c *Config) { c.Registries = []string{"c.example.com"} },
			Indifferent: "what is given does not depend on where it is used",
		},
		"ServiceAccount.Namespace":    {Set: func(c *Config) { c.ServiceAccount.Namespace += "x" }},
		"ServiceAccount.Name":         {Set: func(c *Config) { c.ServiceAccount.Name += "x" }},
		"ServiceAccount.UID":          {Set: func(c *Config) { c.ServiceAccount.UID += "x" }},
		"TokenAudience":               {Set: func(c *Config) { c.TokenAudience += "x" }},
		"Format":                      {Set: func(c *Config) { c.Format = JSON }},
		"GrantType":                   {Set: func(c *Config) { c.GrantType += "x" }},
		"SubjectTokenType":            {Set: func(c *Config) { c.SubjectTokenType += "x" }},
		"RequestedTokenType":          {Set: func(c *Config) { c.RequestedTokenType += "x" }},
		"Audience":                    {Set: func(c *Config) { c.Audience += "x" }},
		"Audience moved to Resource":  {Set: func(c *Config) { c.Audience, c.Resource = "", "audience" }},
		"Resource":                    {Set: func(c *Config) { c.Resource += "x" }},
		"Scopes of other names":       {Set: func(c *Config) { c.Scopes = []string{"a", "bx"} }},
		"Scopes in another order":     {Set: func(c *Config) { c.Scopes = []string{"b", "a"} }},
		"Scopes without the last":     {Set: func(c *Config) { c.Scopes = []string{"a"} }},
		"Scopes that run together":    {Set: func(c *Config) { c.Scopes = []string{"ab"} }},
		"Scopes as a parameter":       {Set: func(c *Config) { c.Scopes = nil; c.Parameters["a"] = "b" }},
		"Parameters of other names":   {Set: func(c *Config) { delete(c.Parameters, "p"); c.Parameters["r"] = "1" }},
		"Parameters of other values":  {Set: func(c *Config) { c.Parameters["p"] = "1x" }},
		"Parameters that swap values": {Set: func(c *Config) { c.Parameters["p"], c.Parameters["q"] = "2", "1" }},
		"Parameters without one":      {Set: func(c *Config) { delete(c.Parameters, "p") }},
		"ClientAuthentication":        {Set: func(c *Config) { c.ClientAuthentication = Post }},
		"ClientID":                    {Set: func(c *Config) { c.ClientID += "x" }},
		"ClientID moved to its secret": {Set: func(c *Config) {
			c.ClientID, c.ClientSecret = "i", "d"+plantedSecret
		}},
		"ClientSecret":     {Set: func(c *Config) { c.ClientSecret += "x" }},
		"CABundle":         {Set: func(c *Config) { c.CABundle += "x" }},
		"Username":         {Set: func(c *Config) { c.Username += "x" }},
		"Fields.Token":     {Set: func(c *Config) { c.Fields.Token += "x" }},
		"Fields.ExpiresIn": {Set: func(c *Config) { c.Fields.ExpiresIn += "x" }},
		"Fields.ExpiresAt": {Set: func(c *Config) { c.Fields.ExpiresAt += "x" }},
		"Fields.Username":  {Set: func(c *Config) { c.Fields.Username += "x" }},
	})
}

func TestKeyTakesADefaultForWhatItStandsFor(t *testing.T) {
	spelt := testConfig()
	spelt.Format, spelt.ClientAuthentication = Form, None
	spelt.GrantType, spelt.SubjectTokenType = "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:token-type:jwt"
	spelt.Fields = Fields{Token: "access_token", ExpiresIn: "expires_in"}
	plain, other := mustNew(t, testConfig()).Key(), mustNew(t, spelt).Key()
	if plain != other {
		t.Error("a default spelt out makes another key")
	}
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(plain) {
		t.Errorf("%q is not a SHA-256", plain)
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	config := withClient(testConfig(), Basic)
	config.Parameters = map[string]string{"p": "planted"}
	provider := mustNew(t, config)
	type holder struct {
		Provider providers.Provider
		Config   Config
	}
	for _, value := range []any{config, &config, provider, holder{provider, config}, &holder{provider, config}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if found := leaks(fmt.Sprintf(verb, value)); found != nil {
				t.Errorf("%s of %T tells %q", verb, value, found)
			}
		}
	}
	if got := provider.String(); got != "tokenExchange by registry-access/puller at sso.example.com" {
		t.Errorf("got %q", got)
	}
}

func TestAProviderSharesNothingWithItsConfig(t *testing.T) {
	config := testConfig()
	config.Scopes, config.Parameters = []string{"a"}, map[string]string{"p": "1"}
	provider := mustNew(t, config)
	config.Registries[0], config.Scopes[0], config.Parameters["p"] = "changed", "changed", "changed"
	provider.Registries()[0] = "changed"
	if got := provider.Registries(); !cmp.Equal(got, []string{"registry.example.com"}) {
		t.Errorf("got registries %q", got)
	}
	if got := provider.config.members("t"); got["scope"] != "a" || got["p"] != "1" {
		t.Errorf("got members %q", got)
	}
}

func mustNew(t *testing.T, config Config) *Provider {
	t.Helper()
	provider, err := New(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	return provider
}
