package awsidentity

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/internal/awsidentity/awstest"
	"github.com/imagepullsecrets/operator/providers"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	hidden := strings.Repeat("planted", 6)
	for name, test := range map[string]struct {
		config Config
		change func(*Config)
		want   []string
	}{
		"nobody":                       {Config{}, func(*Config) {}, []string{"nobody is named to call AWS"}},
		"white space is nobody":        {Config{}, func(c *Config) { c.AccessKeyID = " \n" }, []string{"nobody is named to call AWS"}},
		"a key and a ServiceAccount":   {accountConfig(), func(c *Config) { c.AccessKeyID = "x" }, []string{"more than one is named", "secretKey is empty"}},
		"a key and the operator":       {keyConfig(), func(c *Config) { c.Ambient = true }, []string{"more than one is named"}},
		"a ServiceAccount and both":    {accountConfig(), func(c *Config) { c.Ambient = true }, []string{"more than one is named"}},
		"a key without its id":         {keyConfig(), func(c *Config) { c.AccessKeyID = "" }, []string{"accessKeyID is empty"}},
		"an id without its key":        {keyConfig(), func(c *Config) { c.SecretAccessKey = "\n" }, []string{"secretKey is empty"}},
		"a key in the place of its id": {keyConfig(), func(c *Config) { c.AccessKeyID = awstest.SecretKey }, []string{"accessKeyID must match", "swapped with secretKey"}},
		"a temporary key":              {keyConfig(), func(c *Config) { c.AccessKeyID = "ASIA" + strings.Repeat("A", 16) }, []string{"temporary credentials", "use the access key of an IAM user"}},
		"white space in the secret":    {keyConfig(), func(c *Config) { c.SecretAccessKey = "planted secret" }, []string{"secretKey contains white space"}},
		"a byte order mark":            {keyConfig(), func(c *Config) { c.SecretAccessKey = "\ufeff" + awstest.SecretKey }, []string{"secretKey contains"}},
		"an audience without use":      {keyConfig(), func(c *Config) { c.Audience = "sts.amazonaws.com" }, []string{"audience is that of serviceAccount's token"}},

		"a role's name only":           {keyConfig(), func(c *Config) { c.RoleARN = "pull" }, []string{"roleArn must be a role's ARN", `not "pull"`}},
		"a user's ARN":                 {keyConfig(), func(c *Config) { c.RoleARN = "arn:aws:iam::111122223333:user/ci" }, []string{`not "arn:aws:iam::111122223333:user/ci"`}},
		"a session's ARN":              {keyConfig(), func(c *Config) { c.RoleARN = "arn:aws:sts::111122223333:assumed-role/pull/me" }, []string{"assumed-role/pull/me"}},
		"a role without an account":    {keyConfig(), func(c *Config) { c.RoleARN = "arn:aws:iam:::role/pull" }, []string{"roleArn must be"}},
		"a role with a region":         {keyConfig(), func(c *Config) { c.RoleARN = "arn:aws:iam:eu-central-1:111122223333:role/pull" }, []string{"roleArn must be"}},
		"a role without a name":        {keyConfig(), func(c *Config) { c.RoleARN = "arn:aws:iam::111122223333:role/" }, []string{"roleArn must be"}},
		"a secret in the role's place": {keyConfig(), func(c *Config) { c.RoleARN = hidden }, []string{"not a value of 42 characters"}},
		"a role of another partition":  {keyConfig(), func(c *Config) { c.RoleARN = "arn:aws-cn:iam::111122223333:role/pull" }, []string{`roleArn is of partition "aws-cn", but region eu-central-1 is of partition aws`}},

		"a ServiceAccount without a name":      {accountConfig(), func(c *Config) { c.ServiceAccount.Name = " " }, []string{"serviceAccount.name is empty"}},
		"a ServiceAccount without a namespace": {accountConfig(), func(c *Config) { c.ServiceAccount.Namespace = "" }, []string{"serviceAccount.namespace is empty"}},
		"a ServiceAccount without a UID":       {accountConfig(), func(c *Config) { c.ServiceAccount.UID = "" }, []string{`serviceAccount "registry-access/puller" has no UID`}},
		"a ServiceAccount without a role":      {accountConfig(), func(c *Config) { c.RoleARN = "" }, []string{"roleARN is empty: serviceAccount needs the role that trusts it"}},
		"its role of another partition":        {accountConfig(), func(c *Config) { c.RoleARN = "arn:aws-us-gov:iam::111122223333:role/pull" }, []string{`roleARN is of partition "aws-us-gov"`}},
		"an audience with white space":         {accountConfig(), func(c *Config) { c.Audience = "sts amazonaws" }, []string{`audience must be a text without white space, not "sts amazonaws"`}},

		"a role of the operator's own": {Config{Ambient: true}, func(c *Config) { c.RoleARN = firstRole }, []string{"name the roles of the operator's own identity in assumeRoles"}},

		"a further role that is none":         {accountConfig(), func(c *Config) { c.AssumeRoles = []Role{{RoleARN: nextRole}, {}} }, []string{`assumeRoles[1].roleARN must be a role's ARN`}},
		"a further role of another partition": {accountConfig(), func(c *Config) { c.AssumeRoles = []Role{{RoleARN: "arn:aws-cn:iam::111122223333:role/x"}} }, []string{`assumeRoles[0].roleARN is of partition "aws-cn"`}},
		"a short external ID":                 {accountConfig(), func(c *Config) { c.AssumeRoles = []Role{{nextRole, "x"}} }, []string{`assumeRoles[0].externalID must match`, `not "x"`}},
		"an endless external ID":              {accountConfig(), func(c *Config) { c.AssumeRoles = []Role{{nextRole, strings.Repeat("x", 1225)}} }, []string{"assumeRoles[0].externalID must match", "at most 1224"}},
		"an external ID with white space":     {accountConfig(), func(c *Config) { c.AssumeRoles = []Role{{nextRole, "a b"}} }, []string{`assumeRoles[0].externalID must match`}},
		"six further roles":                   {accountConfig(), func(c *Config) { c.AssumeRoles = make([]Role, 6) }, []string{"assumeRoles has 6 roles, at most 5"}},
		"everything is told at once": {
			Config{Audience: "x", ServiceAccount: providers.ServiceAccount{Name: "x"}, AccessKeyID: "%", AssumeRoles: []Role{{}}}, func(*Config) {},
			[]string{"more than one", "accessKeyID must match", "secretKey is empty", "serviceAccount.namespace is empty", "has no UID", "roleARN is empty", "assumeRoles[0].roleARN"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := test.config
			test.change(&config)
			identity, err := New(config, frankfurt(t), nil)
			if identity != nil {
				t.Errorf("got %v", identity)
			}
			awstest.CheckError(t, err, providers.Invalid, test.want...)
			if strings.Contains(err.Error(), hidden) {
				t.Errorf("%q tells the secret", err)
			}
		})
	}
}

func TestInAnUnknownRegionThePartitionIsNotChecked(t *testing.T) {
	config := keyConfig()
	config.RoleARN = "arn:aws-cn:iam::111122223333:role/pull"
	if _, err := New(config, Region{}, nil); err != nil {
		t.Error(err)
	}
}

func TestNewTakesRolesOfTheRegionsPartition(t *testing.T) {
	for name, test := range map[string]struct{ region, role string }{
		"commercial":         {"eu-central-1", "arn:aws:iam::111122223333:role/pull"},
		"a path":             {"eu-central-1", "arn:aws:iam::111122223333:role/team/a+b=c,d.e@f-g_h/pull"},
		"China":              {"cn-north-1", "arn:aws-cn:iam::111122223333:role/pull"},
		"GovCloud":           {"us-gov-west-1", "arn:aws-us-gov:iam::111122223333:role/pull"},
		"European sovereign": {"eusc-de-east-1", "arn:aws-eusc:iam::111122223333:role/pull"},
		"isolated":           {"us-isob-east-1", "arn:aws-iso-b:iam::111122223333:role/pull"},
	} {
		t.Run(name, func(t *testing.T) {
			region, err := FindRegion(test.region, Variant{})
			if err != nil {
				t.Fatal(err)
			}
			config := accountConfig()
			config.RoleARN = test.role
			config.AssumeRoles = []Role{{RoleARN: test.role, ExternalID: "ext:id/1"}}
			if _, err := New(config, region, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// changes returns configurations that each differ in one field, by the field's
// path: every field there is, so that a new one can't be forgotten.
func changes(t *testing.T, base Config) map[string]Config {
	t.Helper()
	found := map[string]Config{}
	var walk func(path string, at func(*Config) reflect.Value)
	walk = func(path string, at func(*Config) reflect.Value) {
		changed := base
		changed.AssumeRoles = append([]Role(nil), base.AssumeRoles...)
		switch value := at(&changed); value.Kind() {
		case reflect.String:
			value.SetString(value.String() + "x")
			found[path] = changed
		case reflect.Bool:
			value.SetBool(!value.Bool())
			found[path] = changed
		case reflect.Struct:
			for i := range value.NumField() {
				walk(path+"."+value.Type().Field(i).Name, func(c *Config) reflect.Value { return at(c).Field(i) })
			}
		case reflect.Slice:
			if value.Len() == 0 {
				t.Fatalf("%s has no element to change", path)
			}
			for i := range value.Len() {
				walk(fmt.Sprintf("%s[%d]", path, i), func(c *Config) reflect.Value { return at(c).Index(i) })
			}
			value.Set(value.Slice(0, value.Len()-1))
			found[path+" cut"] = changed
		default:
			t.Fatalf("don't know how to change %s", path)
		}
	}
	walk("Config", func(c *Config) reflect.Value { return reflect.ValueOf(c).Elem() })
	return found
}

func fullConfig() Config {
	config := accountConfig()
	config.AssumeRoles = []Role{{nextRole, "one"}, {lastRole, "two"}}
	return config
}

func TestTheKeyCoversEveryInput(t *testing.T) {
	key := func(config Config, region Region) string {
		return (&Identity{config: config, region: region}).Key("ecr")
	}
	base, home := fullConfig(), frankfurt(t)
	elsewhere, fips, dual := home, home, home
	elsewhere.Name, fips.Variant.FIPS, dual.Variant.DualStack = "eu-west-1", true, true
	keys := map[string]string{
		"nothing":     key(base, home),
		"the region":  key(base, elsewhere),
		"FIPS":        key(base, fips),
		"dual-stack":  key(base, dual),
		"the service": (&Identity{config: base, region: home}).Key("ecrpublic"),
		"the order of the roles": key(func() Config {
			c := fullConfig()
			c.AssumeRoles = []Role{{lastRole, "two"}, {nextRole, "one"}}
			return c
		}(), home),
		"a role without its ID": key(func() Config { c := fullConfig(); c.AssumeRoles[0].ExternalID = ""; return c }(), home),
		"an ID that moves one off": key(func() Config {
			c := fullConfig()
			c.AssumeRoles = []Role{{nextRole, "on"}, {"e" + lastRole, "two"}}
			return c
		}(), home),
	}
	for path, changed := range changes(t, base) {
		keys[path] = key(changed, home)
	}
	if len(keys) < 20 {
		t.Errorf("only %d changes were tried", len(keys))
	}
	seen := map[string]string{}
	for name, key := range keys {
		if other, found := seen[key]; found {
			t.Errorf("changing %s and changing %s make the same key", name, other)
		}
		seen[key] = name
		if len(key) != 64 {
			t.Errorf("%q is not a SHA-256", key)
		}
	}
}

func TestKeysKeepNeighbouringFieldsApart(t *testing.T) {
	zeros := strings.Repeat("\x00", 8)
	for name, pairs := range map[string][2][2]string{
		"a field's end is the next one's beginning": {{"AB", "C"}, {"A", "BC"}},
		"fields that hold what may separate them":   {{"A" + zeros + "B", "C"}, {"A", "B" + zeros + "C"}},
	} {
		t.Run(name, func(t *testing.T) {
			one := &Identity{config: Config{AccessKeyID: pairs[0][0], SecretAccessKey: pairs[0][1]}}
			other := &Identity{config: Config{AccessKeyID: pairs[1][0], SecretAccessKey: pairs[1][1]}}
			if one.Key("ecr") == other.Key("ecr") {
				t.Error("fields run together")
			}
		})
	}
}

func TestWhiteSpaceAroundValuesIsIgnored(t *testing.T) {
	for name, plain := range map[string]Config{"an access key": keyWithRole(), "a ServiceAccount": fullConfig()} {
		t.Run(name, func(t *testing.T) {
			padded := plain
			padded.AssumeRoles = append([]Role(nil), plain.AssumeRoles...)
			pad(reflect.ValueOf(&padded).Elem())
			want, got := newIdentity(t, plain, nil), newIdentity(t, padded, nil)
			if want.Key("ecr") != got.Key("ecr") {
				t.Error("padding makes another identity")
			}
			if diff := cmp.Diff(want.config, got.config); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func pad(value reflect.Value) {
	switch value.Kind() {
	case reflect.String:
		if value.String() != "" {
			value.SetString(" " + value.String() + "\r\n")
		}
	case reflect.Struct:
		for i := range value.NumField() {
			pad(value.Field(i))
		}
	case reflect.Slice:
		for i := range value.Len() {
			pad(value.Index(i))
		}
	}
}

func TestTheDefaultAudienceIsTheSameAsNamed(t *testing.T) {
	named := accountConfig()
	named.Audience = "sts.amazonaws.com"
	if newIdentity(t, named, nil).Key("ecr") != newIdentity(t, accountConfig(), nil).Key("ecr") {
		t.Error("two keys for one identity")
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	config := keyWithRole()
	identity := newIdentity(t, config, nil)
	type holder struct {
		Identity *Identity
		Config   Config
	}
	for _, value := range []any{config, &config, identity, holder{identity, config}, &holder{identity, config}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if found := awstest.Leaks(fmt.Sprintf(verb, value)); len(found) > 0 {
				t.Errorf("%s of %T tells %q", verb, value, found)
			}
		}
	}
}

func TestStringTellsWho(t *testing.T) {
	for want, config := range map[string]Config{
		"an access key":               keyConfig(),
		"the operator's own identity": {Ambient: true},
		`ServiceAccount registry-access/puller as "` + firstRole + `"`: accountConfig(),
	} {
		if got := config.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSessionNames(t *testing.T) {
	for name, test := range map[string]struct{ namespace, account, want string }{
		"nobody":                  {"", "", "imagepullsecret-operator"},
		"a ServiceAccount":        {"team-a", "pull.er", "imagepullsecret-operator@team-a.pull.er"},
		"characters of no name":   {"team a", "é/:*", "imagepullsecret-operator@team-a.----"},
		"a long one is cut at 64": {strings.Repeat("n", 63), "puller", "imagepullsecret-operator@" + strings.Repeat("n", 39)},
	} {
		t.Run(name, func(t *testing.T) {
			got := sessionName(providers.ServiceAccount{Namespace: test.namespace, Name: test.account})
			if got != test.want || len(got) > 64 {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestTheHostsAreThoseThatAreCalled(t *testing.T) {
	chained := Config{Ambient: true, AssumeRoles: []Role{{RoleARN: nextRole}}}
	for name, test := range map[string]struct {
		config Config
		want   []string
	}{
		"an access key":                {keyConfig(), []string{"api.example"}},
		"an access key with a role":    {keyWithRole(), []string{"sts.eu-central-1.amazonaws.com", "api.example"}},
		"a ServiceAccount":             {accountConfig(), []string{"sts.eu-central-1.amazonaws.com", "api.example"}},
		"the operator itself":          {Config{Ambient: true}, []string{"api.example"}},
		"the operator in another role": {chained, []string{"sts.eu-central-1.amazonaws.com", "api.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := newIdentity(t, test.config, nil).Hosts("api.example"); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func FuzzNew(f *testing.F) {
	f.Add("AKIAIOSFODNN7EXAMPLE", "secret", "arn:aws:iam::111122223333:role/pull", "", "ns", "name", "ext")
	f.Add("", "", "arn:aws:iam::111122223333:role/", "aud", "", "\x00", "\xff")
	f.Add("ASIA", " ", ":::::role/x", "sts.amazonaws.com", "a/b", "c:d", "ab")
	f.Fuzz(func(t *testing.T, id, secret, role, audience, namespace, name, externalID string) {
		account := providers.ServiceAccount{Namespace: namespace, Name: name, UID: "u"}
		config := Config{
			AccessKeyID: id, SecretAccessKey: secret, RoleARN: role, Audience: audience,
			ServiceAccount: account, AssumeRoles: []Role{{role, externalID}},
		}
		for _, config := range []Config{config, {ServiceAccount: account, RoleARN: role, Audience: audience}, {AccessKeyID: id, SecretAccessKey: secret, RoleARN: role}} {
			identity, err := New(config, frankfurt(t), nil)
			if (identity == nil) == (err == nil) {
				t.Fatalf("got %v and %v", identity, err)
			}
			if err == nil && notInSessionName.MatchString(identity.sessionName) {
				t.Errorf("session %q", identity.sessionName)
			}
			if err != nil && len(secret) > 32 && strings.Contains(err.Error(), secret) {
				t.Errorf("%q tells the secret", err)
			}
		}
	})
}
