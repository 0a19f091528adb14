package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/controllers"
	"github.com/imagepullsecrets/operator/controllers/annotatedsecret"
)

// annotatedOptions are what a person may set about objects of namespaces that
// ask for logins by their annotations.
type annotatedOptions struct {
	accounts bool

	secrets     bool
	secretNames []string
	allow       []string
	account     string
	audience    string
}

func (o *annotatedOptions) bindFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&o.accounts, "annotated-service-accounts", false,
		"give ServiceAccounts the logins that their annotations (imagepullsecrets.preferred.jp/…) ask for, each obtained as itself")
	flags.BoolVar(&o.secrets, "annotated-secrets", false,
		"keep a login to Chainguard's registry in Secrets that ask for it ("+v1alpha1.AnnotationChainguardUpdater+")")
	flags.StringSliceVar(&o.secretNames, "annotated-secret-names", []string{"pull-secret"},
		"the only names of Secrets that may ask; rights on these names are enough")
	flags.StringArrayVar(&o.allow, "chainguard-allow", nil,
		"a namespace and the identity that its Secrets may use, as <namespace>=<identity>; * for any of either, and * alone for all (repeatable; default: none)")
	flags.StringVar(&o.account, "chainguard-service-account", "",
		"the ServiceAccount that those identities trust, as <namespace>/<name>")
	flags.StringVar(&o.audience, "chainguard-audience", "issuer.enforce.dev", "the audience of that ServiceAccount's tokens")
}

// validate says what is wrong with the options, all of it.
func (o *annotatedOptions) validate() []error {
	if !o.secrets {
		if len(o.allow) > 0 {
			return []error{errors.New("--chainguard-allow means something with --annotated-secrets only")}
		}
		return nil
	}
	var errs []error
	for _, name := range o.secretNames {
		for _, problem := range validation.IsDNS1123Subdomain(name) {
			errs = append(errs, fmt.Errorf("--annotated-secret-names: %q is not the name of a Secret: %s", name, problem))
		}
	}
	if len(o.secretNames) == 0 {
		errs = append(errs, errors.New("--annotated-secret-names must not be empty"))
	}
	for _, text := range o.allow {
		if _, err := parsePair(text); err != nil {
			errs = append(errs, err)
		}
	}
	if namespace, name, found := strings.Cut(o.account, "/"); !found || namespace == "" || name == "" {
		errs = append(errs, fmt.Errorf("--chainguard-service-account must be <namespace>/<name>, not %q", o.account))
	}
	return errs
}

// parsePair reads a value of --chainguard-allow.
func parsePair(text string) (annotatedsecret.Pair, error) {
	if text == annotatedsecret.Any {
		return annotatedsecret.Pair{Namespace: annotatedsecret.Any, Identity: annotatedsecret.Any}, nil
	}
	namespace, identity, found := strings.Cut(text, "=")
	if !found || namespace == "" || identity == "" {
		return annotatedsecret.Pair{}, fmt.Errorf("--chainguard-allow must be <namespace>=<identity> or *, not %q", text)
	}
	if namespace != annotatedsecret.Any && len(validation.IsDNS1123Label(namespace)) > 0 {
		return annotatedsecret.Pair{}, fmt.Errorf("--chainguard-allow: %q is not the name of a namespace; only * alone stands for any", namespace)
	}
	return annotatedsecret.Pair{Namespace: namespace, Identity: identity}, nil
}

// apply tells the controllers of the options, which are valid.
func (o *annotatedOptions) apply(config *controllers.Config) {
	config.AnnotatedAccounts = o.accounts
	if !o.secrets {
		return
	}
	config.AnnotatedSecrets.Names = o.secretNames
	config.AnnotatedSecrets.Audience = o.audience
	config.AnnotatedSecrets.Account.Namespace, config.AnnotatedSecrets.Account.Name, _ = strings.Cut(o.account, "/")
	for _, text := range o.allow {
		if pair, err := parsePair(text); err == nil {
			config.AnnotatedSecrets.Allowed = append(config.AnnotatedSecrets.Allowed, pair)
		}
	}
}
