package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// execute runs a command line and returns what it prints.
func execute(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := NewRoot(&out, &out)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestVersion(t *testing.T) {
	for args, want := range map[string]string{"version": "dev\n", "--version": "imagepullsecret-operator version dev\n"} {
		if out, err := execute(t, args); err != nil || out != want {
			t.Errorf("%s: got %q, %v, want %q", args, out, err, want)
		}
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	out, err := execute(t, "manager", "--help")
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"--namespace", "--target-secret-names", "--pod-selectors", "--resync-interval", "--target-workers", "--leader-elect", "--log-level", "--log-format", "--metrics-bind-address", "--health-probe-bind-address"} {
		if !strings.Contains(out, flag) {
			t.Errorf("no %s", flag)
		}
	}
}

func TestBadInputIsRefusedBeforeAnythingStarts(t *testing.T) {
	cases := map[string]struct {
		args []string
		want string
	}{
		"an unknown command":                 {[]string{"mangaer"}, `unknown command "mangaer"`},
		"an unknown flag":                    {[]string{"manager", "--leader"}, "unknown flag: --leader"},
		"an argument":                        {[]string{"manager", "x"}, `unknown command "x"`},
		"a name that is none":                {[]string{"manager", "--target-secret-names=Pull"}, `"Pull" is not the name of a Secret`},
		"a namespace that is none":           {[]string{"manager", "--watch-namespaces=team-*"}, `"team-*" is not the name of a namespace`},
		"a namespace that is none, to clean": {[]string{"cleanup", "--watch-namespaces=team-*"}, `"team-*" is not the name of a namespace`},
		"a namespace that is none, to check": {[]string{"check", "--watch-namespaces=team-*"}, `"team-*" is not the name of a namespace`},
		"a namespace twice":                  {[]string{"manager", "--watch-namespaces=a,b,a"}, "--watch-namespaces names a twice"},
		"no workers":                         {[]string{"manager", "--target-workers=0"}, "--target-workers must be from 1 to 256"},
		"too short a resync":                 {[]string{"manager", "--resync-interval=1s"}, "at least 1m0s"},
		"a resync that is no time":           {[]string{"manager", "--resync-interval=soon"}, "neither a duration such as 10h nor a number of seconds"},
		"an empty namespace":                 {[]string{"manager", "--namespace="}, "--namespace must not be empty"},
		"an unknown level":                   {[]string{"manager", "--log-level=loud"}, `--log-level "loud"`},
		"an unknown format":                  {[]string{"manager", "--log-format=xml"}, `--log-format "xml"`},
		"no time to clean up":                {[]string{"cleanup", "--timeout=0s"}, "--timeout must be more than 0"},
		"no Deployment to clean up after":    {[]string{"cleanup", "--deployment="}, "--namespace and --deployment must not be empty"},
		"a name to clean up that is none":    {[]string{"cleanup", "--target-secret-names=pull,Pull"}, `"Pull" is not the name of a Secret`},
		"IMPS's name of a bad flag's too":    {[]string{"manager", "--periodic-reconcile-interval=5"}, "--resync-interval must be at least 1m0s, not 5s"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", "/dev/null")
			if _, err := execute(t, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestFlagsOfIMPSAreUnderstood(t *testing.T) {
	command := newManagerCommand()
	flags := command.Flags()
	for _, arg := range []string{"metrics-addr=:1", "enable-leader-election=true", "config-namespace=ops", "periodic-reconcile-interval=300", "log.level=debug"} {
		name, value, _ := strings.Cut(arg, "=")
		if err := flags.Set(name, value); err != nil {
			t.Errorf("--%s: %v", arg, err)
		}
	}
	if got := flags.Lookup("resync-interval").Value.String(); got != (5 * time.Minute).String() {
		t.Errorf("the interval is %s", got)
	}
	if got := flags.Lookup("leader-elect").Value.String(); got != "true" {
		t.Errorf("leader election is %s", got)
	}
}

// image-pull-secrets-provisioner's switch turns recovery off, whatever ours says.
func TestRecoveryIsSwitchedOffByEitherName(t *testing.T) {
	cases := map[string]struct {
		args []string
		want bool
	}{
		"it is on by default":               {nil, true},
		"our name":                          {[]string{"--pod-recovery=false"}, false},
		"the provisioner's name":            {[]string{"--disable-pod-eviction"}, false},
		"the provisioner's, with its value": {[]string{"--disable-pod-eviction=true"}, false},
		"both":                              {[]string{"--pod-recovery=true", "--disable-pod-eviction"}, false},
		"the provisioner's default":         {[]string{"--disable-pod-eviction=false"}, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var options managerOptions
			flags := pflag.NewFlagSet("manager", pflag.ContinueOnError)
			options.bindFlags(flags)
			if err := flags.Parse(c.args); err != nil {
				t.Fatal(err)
			}
			if got := options.recoversPods(); got != c.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestTheEnvironmentIsUnderstood(t *testing.T) {
	t.Setenv("LOG_LEVEL", "debug")
	t.Setenv("LOG_FORMAT", "console")
	t.Setenv("POD_NAMESPACE", "ops")
	t.Setenv("WATCH_NAMESPACE", "team-a, team-b") // which is Operator SDK's
	flags := newManagerCommand().Flags()
	for name, want := range map[string]string{"log-level": "debug", "log-format": "console", "namespace": "ops", "watch-namespaces": "[team-a,team-b]"} {
		if got := flags.Lookup(name).Value.String(); got != want {
			t.Errorf("--%s is %s", name, got)
		}
	}
}
