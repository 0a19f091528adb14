package annotatedaccount

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// ask is what the annotations of a ServiceAccount ask for: one Secret, for one
// principal.
type ask struct {
	// Principal is whom the login is for, as it was written.
	Principal string
	// Entry is where the login comes from.
	Entry v1alpha1.CredentialSource
	// SecretName is the Secret's.
	SecretName string
	// Invalid says what is wrong, if something is.
	Invalid string
}

// way is a way of getting a login that annotations can ask for.
type way struct {
	// principals is the key that lists whom logins are for, separated by
	// commas; all of needs have to be there with it.
	principals string
	needs      []string
	// registry is the one that is meant if none is named; "" if one has to be.
	registry string
	// entry makes the source of one principal; problem says why it can't.
	entry func(request) (entry v1alpha1.CredentialSource, problem string)
}

// request is what a way makes an entry of.
type request struct {
	principal string
	registry  v1alpha1.RegistryHost
	audience  v1alpha1.Audience
	account   v1alpha1.ServiceAccountReference
	value     func(key string) string
}

// ways are looked at in this order; the first one whose principals are there is
// taken, as image-pull-secrets-provisioner takes AWS before Google.
var ways = []way{
	{principals: v1alpha1.AnnotationAWSRoleARN, entry: ecrEntry},
	{principals: v1alpha1.AnnotationGoogleServiceAccount, needs: []string{v1alpha1.AnnotationGoogleProvider}, entry: googleEntry},
	{principals: v1alpha1.AnnotationGoogleProvider, entry: googleDirectEntry},
	{principals: v1alpha1.AnnotationChainguardIdentity, registry: "cgr.dev", entry: chainguardEntry},
	{principals: v1alpha1.AnnotationAzureClientID, needs: []string{v1alpha1.AnnotationAzureTenantID}, entry: azureEntry},
	{principals: v1alpha1.AnnotationQuayRobot, registry: quayHost, entry: quayEntry},
}

// read returns what the annotations of a ServiceAccount ask for, in the order
// of the principals. problem says why nothing can be made of annotations that
// are ours; both are empty if there are none.
func read(account *corev1.ServiceAccount) (asks []ask, problem string) {
	value := func(key string) string { return strings.TrimSpace(account.Annotations[key]) }
	index := slices.IndexFunc(ways, func(w way) bool { return len(listed(value(w.principals))) > 0 })
	registry := value(v1alpha1.AnnotationAccountRegistry)
	if index < 0 {
		if registry == "" {
			return nil, ""
		}
		return nil, "annotation " + v1alpha1.AnnotationAccountRegistry + " asks for a login and none says whose: add " + principalKeys()
	}
	chosen := ways[index]
	for _, key := range chosen.needs {
		if value(key) == "" {
			return nil, fmt.Sprintf("annotation %s needs %s beside it", chosen.principals, key)
		}
	}
	if registry = cmp.Or(registry, chosen.registry); registry == "" {
		return nil, fmt.Sprintf("annotation %s needs %s beside it: the registry's host", chosen.principals, v1alpha1.AnnotationAccountRegistry)
	}
	for i, principal := range listed(value(chosen.principals)) {
		one := ask{Principal: principal, SecretName: secretName(value(v1alpha1.AnnotationAccountSecretName), account.Name, i)}
		one.Entry, one.Invalid = chosen.entry(request{
			principal: principal, registry: v1alpha1.RegistryHost(registry), value: value,
			audience: v1alpha1.Audience(value(v1alpha1.AnnotationAccountAudience)),
			account:  v1alpha1.ServiceAccountReference{Namespace: account.Namespace, Name: account.Name},
		})
		if wrong := validation.IsDNS1123Subdomain(one.SecretName); len(wrong) > 0 {
			one.Invalid = fmt.Sprintf("annotation %s: %q is not the name of a Secret: %s", v1alpha1.AnnotationAccountSecretName, one.SecretName, wrong[0])
		}
		asks = append(asks, one)
	}
	return asks, ""
}

func principalKeys() string {
	keys := make([]string, len(ways))
	for i, w := range ways {
		keys[i] = w.principals
	}
	return strings.Join(keys[:len(keys)-1], ", ") + " or " + keys[len(keys)-1]
}

// listed splits a list at its commas; what is empty or there twice is left out.
func listed(text string) []string {
	var values []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" && !slices.Contains(values, part) {
			values = append(values, part)
		}
	}
	return values
}

// ecrHost is the host of a private ECR registry. Whether its domain is AWS's is
// for the provider to say, which knows the regions.
var ecrHost = regexp.MustCompile(`^([0-9]{12})\.dkr([.-])ecr(-fips)?\.([a-z0-9-]+)\.[a-z0-9.-]+$`)

func ecrEntry(r request) (v1alpha1.CredentialSource, string) {
	parts := ecrHost.FindStringSubmatch(string(r.registry))
	if parts == nil {
		return v1alpha1.CredentialSource{}, fmt.Sprintf("annotation %s: %q is not the host of an ECR registry, such as 111122223333.dkr.ecr.eu-central-1.amazonaws.com",
			v1alpha1.AnnotationAccountRegistry, r.registry)
	}
	return v1alpha1.CredentialSource{ECR: &v1alpha1.ECRSource{
		AWSIdentity: v1alpha1.AWSIdentity{ServiceAccount: &r.account, RoleARN: v1alpha1.AWSRoleARN(r.principal), Audience: r.audience},
		AccountID:   parts[1], Region: parts[4], UseDualStack: parts[2] == "-", UseFIPS: parts[3] != "",
		Registries: []v1alpha1.RegistryHost{r.registry},
	}}, ""
}

func googleEntry(r request) (v1alpha1.CredentialSource, string) {
	return v1alpha1.CredentialSource{GoogleArtifactRegistry: &v1alpha1.GoogleArtifactRegistrySource{
		Registries: []v1alpha1.RegistryHost{r.registry}, ServiceAccount: &r.account, Audience: r.audience,
		WorkloadIdentityProvider: r.value(v1alpha1.AnnotationGoogleProvider), GoogleServiceAccount: r.principal,
	}}, ""
}

// googleDirectEntry is that of a federated identity which reads the registry
// itself: the principal is the provider.
func googleDirectEntry(r request) (v1alpha1.CredentialSource, string) {
	return v1alpha1.CredentialSource{GoogleArtifactRegistry: &v1alpha1.GoogleArtifactRegistrySource{
		Registries: []v1alpha1.RegistryHost{r.registry}, ServiceAccount: &r.account, Audience: r.audience,
		WorkloadIdentityProvider: r.principal,
	}}, ""
}

func chainguardEntry(r request) (v1alpha1.CredentialSource, string) {
	return v1alpha1.CredentialSource{Chainguard: &v1alpha1.ChainguardSource{
		Identity: r.principal, ServiceAccount: r.account, Audience: r.audience, Registries: []v1alpha1.RegistryHost{r.registry},
	}}, ""
}

func azureEntry(r request) (v1alpha1.CredentialSource, string) {
	return v1alpha1.CredentialSource{AzureContainerRegistry: &v1alpha1.AzureContainerRegistrySource{
		Registry: r.registry, TenantID: r.value(v1alpha1.AnnotationAzureTenantID), ClientID: r.principal,
		ServiceAccount: r.account, Audience: r.audience,
	}}, ""
}

// quayHost is the only Quay that annotations can ask for: another host would be
// one that whoever annotates chooses, and the operator would call it.
const quayHost = "quay.io"

func quayEntry(r request) (v1alpha1.CredentialSource, string) {
	if r.registry != quayHost {
		return v1alpha1.CredentialSource{}, fmt.Sprintf("annotation %s: %q is not %s; one's own Quay takes an ImagePullSecret",
			v1alpha1.AnnotationAccountRegistry, r.registry, quayHost)
	}
	return v1alpha1.CredentialSource{Quay: &v1alpha1.QuaySource{
		Registry: r.registry, Robot: r.principal, ServiceAccount: r.account, Audience: r.audience,
	}}, ""
}

// longestName is that of a Secret.
const longestName = 253

// secretName returns the name of the Secret of a principal by its place, as
// image-pull-secrets-provisioner named it: the first one has the base alone.
func secretName(chosen, account string, index int) string {
	base, suffix := cmp.Or(chosen, "imagepullsecret-"+account), ""
	if index > 0 {
		suffix = fmt.Sprintf("-%d", index)
	}
	if cut := longestName - len(suffix); len(base) > cut {
		base = strings.TrimRight(base[:cut], "-.")
	}
	return base + suffix
}

// labelValue returns a name as the value of a label, which may be shorter than
// a name: a longer one is cut, and made distinct by a part of its hash.
func labelValue(name string) string {
	const longest, hashed = validation.LabelValueMaxLength, 8
	if len(name) <= longest {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return strings.TrimRight(name[:longest-hashed-1], "-.") + "-" + hex.EncodeToString(sum[:])[:hashed]
}
