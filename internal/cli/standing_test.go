package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// patcher reads variables and arguments as the patcher does.
func patcher(t *testing.T, env map[string]string, args ...string) (*patcherOptions, error) {
	t.Helper()
	for name, value := range env {
		t.Setenv(name, value)
	}
	options := &patcherOptions{process: processOptions{onceTimeout: time.Minute}}
	flags := pflag.NewFlagSet("patcher", pflag.ContinueOnError)
	options.bindFlags(flags)
	if err := options.parse(flags, args); err != nil {
		return nil, err
	}
	return options, options.validate()
}

func TestThePatcherTakesItsFlagsAndVariables(t *testing.T) {
	for sentence, test := range map[string]struct {
		env  map[string]string
		args []string
		is   func(*patcherOptions) bool
	}{
		"its defaults": {nil, nil, func(o *patcherOptions) bool {
			s := o.spec().Target
			return s.Secret.Name == "image-pull-secret" && slices.Equal(s.ServiceAccounts.Names, []string{"default"}) &&
				s.ConflictPolicy == v1alpha1.ConflictOverwrite && s.Secret.Annotations["app.kubernetes.io/managed-by"] == "imagepullsecret-patcher" &&
				len(s.Namespaces.Labels) == 1 && slices.Equal(s.Namespaces.Exclude.Names, []string{"imagepullsecret-patcher"}) && !o.process.once
		}},
		"one dash": {nil, []string{"-secretname=mine", "-runonce", "-force=false"}, func(o *patcherOptions) bool {
			return o.secretName == "mine" && o.process.once && o.spec().Target.ConflictPolicy == v1alpha1.ConflictFail
		}},
		"one dash and a value apart": {nil, []string{"-secretname", "mine", "--excluded-namespaces", "a , b*,"}, func(o *patcherOptions) bool {
			return o.secretName == "mine" && slices.Equal(o.spec().Target.Namespaces.Exclude.Names, []string{"a", "b*", "imagepullsecret-patcher"})
		}},
		"variables": {map[string]string{"CONFIG_ALLSERVICEACCOUNT": "true", "CONFIG_SECRETNAME": "x", "CONFIG_LOOP_DURATION": "5s"}, nil, func(o *patcherOptions) bool {
			return o.secretName == "x" && slices.Equal(o.spec().Target.ServiceAccounts.Names, []string{"*"})
		}},
		"flags go before variables": {map[string]string{"CONFIG_SECRETNAME": "x"}, []string{"-secretname=y"}, func(o *patcherOptions) bool { return o.secretName == "y" }},
		"managedonly means what it says": {nil, []string{"-managedonly"}, func(o *patcherOptions) bool {
			return o.spec().Target.ConflictPolicy == v1alpha1.ConflictFail && o.order().Inherits["app.kubernetes.io/managed-by"] == "imagepullsecret-patcher"
		}},
		"a further exclude annotation, on ServiceAccounts too": {map[string]string{"CONFIG_EXCLUDE_ANNOTATION": "x/y"}, nil, func(o *patcherOptions) bool {
			s := o.spec().Target
			return len(s.Namespaces.Exclude.Annotations) == 2 && len(s.ServiceAccounts.Exclude.Annotations) == 2 &&
				s.Namespaces.Exclude.Annotations[1].MatchAnnotations["x/y"] == "true"
		}},
	} {
		t.Run(sentence, func(t *testing.T) {
			options, err := patcher(t, test.env, test.args...)
			if err != nil || !test.is(options) {
				t.Errorf("options are %+v, %v", options, err)
			}
		})
	}
}

func TestThePatcherHelps(t *testing.T) {
	for _, flag := range []string{"--help", "-h", "-help"} {
		if out, err := execute(t, "patcher", flag); err != nil || !strings.Contains(out, "--dockerconfigjsonpath") || !strings.Contains(out, "CONFIG_FORCE") {
			t.Errorf("%s: %v\n%s", flag, err, out)
		}
	}
	if _, err := execute(t, "patcher", "x"); err == nil {
		t.Error("an argument is no error")
	}
}

func TestThePatcherRefusesWhatMakesNoSense(t *testing.T) {
	for sentence, test := range map[string]struct {
		env  map[string]string
		args []string
		says string
	}{
		"two logins":             {nil, []string{"-dockerconfigjson={}", "-dockerconfigjsonpath=/x"}, "exclude one another"},
		"no name of a Secret":    {nil, []string{"-secretname=A_b"}, `--secretname: "A_b"`},
		"a pattern that is none": {nil, []string{"-serviceaccounts=ci-[a"}, `"ci-[a" is not a pattern`},
		"a wrong variable":       {map[string]string{"CONFIG_FORCE": "hunter2"}, nil, "CONFIG_FORCE"},
		"an unknown flag":        {nil, []string{"--hunter"}, "unknown flag"},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, err := patcher(t, test.env, test.args...)
			if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestThePatchersLoginComesFromItsFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "config.json")
	options := patcherOptions{documentPath: name, secretName: "pull"}
	if o := options.order(); !strings.Contains(o.Invalid, "no such file") || o.Place != "the file "+name {
		t.Errorf("without the file: %+v", o)
	}
	if err := os.WriteFile(name, []byte(`{"auths":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if o := options.order(); o.Invalid != "" || string(o.Secret.Data[".dockerconfigjson"]) != `{"auths":{}}` {
		t.Errorf("with it: %+v", o)
	}
	// Two patchers of two names in one cluster leave each other's Secrets alone.
	other := patcherOptions{documentPath: name, secretName: "other"}
	if options.order().Object.UID == other.order().Object.UID {
		t.Error("two patchers are taken for one")
	}
}

func TestTheRefresherTakesNamesWithDots(t *testing.T) {
	options := refresherOptions{sources: []string{"registry-access.hub.example.com", "b.c"}, target: "ns.pull.secret"}
	o, err := options.order()
	if err != nil || o.Namespace != "ns" || o.Object.Spec.Target.Secret.Name != "pull.secret" || o.Object.Spec.Registry.Credentials[0].Name != "hub.example.com" {
		t.Errorf("order is %+v, %v", o, err)
	}
	for sentence, wrong := range map[string]refresherOptions{
		"no source":         {target: "a.b"},
		"no target":         {sources: []string{"a.b"}},
		"no dot":            {sources: []string{"ab"}, target: "a.b"},
		"the target itself": {sources: []string{"a.b"}, target: "a.b"},
		"no name":           {sources: []string{"a.B"}, target: "a.b"},
	} {
		if _, err := wrong.order(); err == nil {
			t.Errorf("%s is no error", sentence)
		}
	}
}

func TestWhoMayUseWhichIdentity(t *testing.T) {
	valid := annotatedOptions{secrets: true, secretNames: []string{"pull-secret"}, account: "ns/name"}
	for text, says := range map[string]string{
		"*": "", "team-a=abc/def": "", "*=abc": "", "team-a=*": "",
		"team-a": "must be <namespace>=<identity>", "=abc": "must be", "team-*=abc": "only * alone stands for any",
	} {
		options := valid
		options.allow = []string{text}
		errs := options.validate()
		if (len(errs) == 0) != (says == "") || len(errs) > 0 && !strings.Contains(errs[0].Error(), says) {
			t.Errorf("%q: %v, want %q", text, errs, says)
		}
	}
	for sentence, wrong := range map[string]annotatedOptions{
		"no ServiceAccount":      {secrets: true, secretNames: []string{"x"}},
		"no names":               {secrets: true, account: "a/b"},
		"a name that is none":    {secrets: true, account: "a/b", secretNames: []string{"X"}},
		"a list without a watch": {allow: []string{"*"}},
	} {
		if len(wrong.validate()) == 0 {
			t.Errorf("%s is no error", sentence)
		}
	}
}
