package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// logged are the lines that the manager writes of an error, an info and a debug
// line, after those of its own start.
func logged(t *testing.T, args ...string) []string {
	t.Helper()
	var options managerOptions
	flags := pflag.NewFlagSet("manager", pflag.ContinueOnError)
	options.bindFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log, err := options.logging.start(&out)
	if err != nil {
		t.Fatal(err)
	}
	log.Error(errors.New("broken"), "an error")
	log.Info("an info")
	log.V(1).Info("a debug")
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

// The level decides which lines there are; the names are ours and those of two
// earlier systems, by flag and by variable.
func TestTheLevelDecidesWhatIsLogged(t *testing.T) {
	const errorsOnly, usual, all = 1, 2, 3
	for sentence, test := range map[string]struct {
		env  string
		args []string
		want int
	}{
		"debug is left out by default":               {"", nil, usual},
		"error":                                      {"", []string{"--log-level=error"}, errorsOnly},
		"debug":                                      {"", []string{"--log-level=debug"}, all},
		"a number":                                   {"", []string{"--log-level=1"}, all},
		"nought is info":                             {"", []string{"--log-level=0"}, usual},
		"a number beyond all":                        {"", []string{"--log-level=1000"}, all},
		"IMPS's panic":                               {"panic", nil, errorsOnly},
		"IMPS's fatal":                               {"fatal", nil, errorsOnly},
		"IMPS's error":                               {"error", nil, errorsOnly},
		"IMPS's warn":                                {"warn", nil, usual},
		"IMPS's warning":                             {"warning", nil, usual},
		"IMPS's info":                                {"info", nil, usual},
		"IMPS's debug":                               {"debug", nil, all},
		"IMPS's trace":                               {"trace", nil, all},
		"IMPS's, in upper case":                      {"TRACE", nil, all},
		"IMPS's flag goes before its variable":       {"trace", []string{"--log.level=error"}, errorsOnly},
		"the provisioner's level":                    {"", []string{"--zap-log-level=debug"}, all},
		"the provisioner's number":                   {"", []string{"--zap-log-level=5"}, all},
		"the provisioner's panic":                    {"", []string{"--zap-log-level=panic"}, errorsOnly},
		"the provisioner's development":              {"", []string{"--zap-devel"}, all},
		"no development":                             {"", []string{"--zap-devel=false"}, usual},
		"a level goes before development":            {"", []string{"--zap-log-level=error", "--zap-devel=true"}, errorsOnly},
		"a level goes before development after it":   {"", []string{"--zap-devel=true", "--log-level=error"}, errorsOnly},
		"development goes before IMPS's environment": {"info", []string{"--zap-devel"}, all},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Setenv("LOG_LEVEL", test.env)
			if lines := logged(t, test.args...); len(lines) != test.want {
				t.Errorf("got %d lines: %q", len(lines), lines)
			}
		})
	}
}

func TestLinesAreJSONUnlessTheyAreForPeople(t *testing.T) {
	for sentence, test := range map[string]struct {
		args []string
		want bool
	}{
		"by default":                       {nil, true},
		"on demand":                        {[]string{"--log-format=json"}, true},
		"for people":                       {[]string{"--log-format=console"}, false},
		"IMPS's logfmt":                    {[]string{"--log-format=logfmt"}, false},
		"the provisioner's encoder":        {[]string{"--zap-encoder=console"}, false},
		"the provisioner's, in upper case": {[]string{"--zap-encoder=JSON"}, true},
		"the provisioner's development":    {[]string{"--zap-devel"}, false},
		"an encoder before development":    {[]string{"--zap-encoder=json", "--zap-devel"}, true},
	} {
		t.Run(sentence, func(t *testing.T) {
			for _, line := range logged(t, test.args...) {
				var fields map[string]any
				if err := json.Unmarshal([]byte(line), &fields); (err == nil) != test.want {
					t.Fatalf("got %q", line)
				}
				if test.want && (fields["level"] == nil || fields["time"] == nil || fields["msg"] == nil) {
					t.Errorf("level, time or msg is missing: %q", line)
				}
			}
		})
	}
}

// What an earlier system could be told and means nothing here stops nobody, and
// one line says so.
func TestFlagsWithoutEffectAreToldInOneLine(t *testing.T) {
	without, with := logged(t), logged(t, "--zap-stacktrace-level=panic", "--zap-time-encoding=iso8601", "--expiration-grace-period-minutes=5")
	if len(with) != len(without)+1 {
		t.Fatalf("got %q", with)
	}
	var line struct {
		Level, Msg string
		Flags      []string
	}
	if err := json.Unmarshal([]byte(with[0]), &line); err != nil {
		t.Fatal(err)
	}
	if line.Level != "info" || !strings.Contains(line.Msg, "no effect") || !slices.Equal(line.Flags, withoutEffect) {
		t.Errorf("got %q", with[0])
	}
}

// A kubeconfig file that is named is the only place where the cluster is looked for.
func TestTheClusterIsFoundByTheNamedFile(t *testing.T) {
	named, missing := filepath.Join(t.TempDir(), "named"), filepath.Join(t.TempDir(), "missing")
	const content = `{clusters: [{name: c, cluster: {server: "https://named.example:6443"}}], contexts: [{name: x, context: {cluster: c}}], current-context: x}`
	if err := os.WriteFile(named, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	for sentence, environment := range map[string]string{"without KUBECONFIG": "", "before KUBECONFIG": missing} {
		t.Run(sentence, func(t *testing.T) {
			t.Setenv("KUBECONFIG", environment)
			found, err := (&clusterOptions{kubeconfig: named}).restConfig()
			if err != nil || found.Host != "https://named.example:6443" {
				t.Errorf("got %v, %v", found, err)
			}
		})
	}
	for _, args := range [][]string{{"manager", "--kubeconfig", missing}, {"patcher", "-kubeconfig=" + missing}} {
		t.Setenv("KUBECONFIG", named)
		if printed, err := execute(t, args...); err == nil || !strings.Contains(err.Error(), missing) || !strings.Contains(printed, `"msg":"starting`) {
			t.Errorf("%v: %v, and it logged %q", args, err, printed)
		}
	}
}
