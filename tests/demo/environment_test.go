package main

import (
	"strings"
	"testing"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

func TestASecretInTheOperatorsLogFailsTheDemo(t *testing.T) {
	const secret = "a secret that nobody may ever log"
	secrets := fakecloud.NewSecrets(secret)
	for sentence, test := range map[string]struct{ log, want string }{
		"no secret": {"started\nready\n", ""},
		"a secret":  {"started\ntoken: " + secret + "\n", "a secret was logged: 1 parts"},
		"no log":    {"", "the operator logged nothing"},
	} {
		t.Run(sentence, func(t *testing.T) {
			err := checkLog(test.log, secrets)
			if test.want == "" && err != nil {
				t.Errorf("it says: %v", err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("it says %v, want %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Error("the secret is shown")
			}
		})
	}
}
