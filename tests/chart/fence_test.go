package chart

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

// fenceAPI is what a cluster must know for the operator to be fenced.
const fenceAPI = "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"

// policies are those of the fence, by what they are about.
var policies = []string{"secrets", "service-accounts", "tokens"}

func TestFenceIsASwitch(t *testing.T) {
	eachSwitched(t, "fence", fenceAPI, func(t *testing.T, rendered objects, want bool) {
		for _, about := range policies {
			expectPolicy(t, rendered, "Validating", "other-fence-"+about, want)
		}
	})
}

// What values say is in the policies' variables.
func TestFenceFollowsValues(t *testing.T) {
	const named = "rbac: {mode: named, targetSecretNames: [pull, other]}"
	for sentence, test := range map[string]struct {
		values   string
		about    string
		variable string
		want     string
	}{
		"any name":                            {"", "secrets", "names", "[]"},
		"any name to attach":                  {"", "service-accounts", "names", "[]"},
		"in mode named those names":           {named, "secrets", "names", `["pull","other"]`},
		"in mode named those names to attach": {named, "service-accounts", "names", `["pull","other"]`},
		"in mode named any name to attach that annotations ask for": {
			"{" + named + ", annotatedServiceAccounts: {enabled: true}}", "service-accounts", "names", "[]",
		},
		"no Secret that asks":           {"annotatedSecrets: {names: [mine]}", "secrets", "annotatedNames", "[]"},
		"Secrets of a name that ask":    {"annotatedSecrets: {enabled: true, names: [mine]}", "secrets", "annotatedNames", `["mine"]`},
		"no replacing":                  {"", "secrets", "allowReplacing", "false"},
		"replacing":                     {"fence: {allowReplacing: true}", "secrets", "allowReplacing", "true"},
		"audiences in place of ours":    {`fence: {audiences: [a, "b-*"]}`, "tokens", "audiences", "[\n  \"a\",\n  \"b-*\"\n]"},
		"an audience that CEL may trip": {`fence: {audiences: ["a\"b'\\c"]}`, "tokens", "audiences", "[\n  \"a\\\"b'\\\\c\"\n]"},
		"that of Secrets that ask":      {"{fence: {audiences: [a]}, annotatedSecrets: {enabled: true, audience: b}}", "tokens", "audiences", "[\n  \"a\",\n  \"b\"\n]"},
		"if it is not there already":    {"{fence: {audiences: [a]}, annotatedSecrets: {enabled: true, audience: a}}", "tokens", "audiences", "[\n  \"a\"\n]"},
		"and only if any may":           {"{fence: {audiences: [a]}, annotatedSecrets: {enabled: false, audience: b}}", "tokens", "audiences", "[\n  \"a\"\n]"},
		"no audience":                   {"fence: {audiences: []}", "tokens", "audiences", "[\n]"},
	} {
		t.Run(sentence, func(t *testing.T) {
			eachHelm(t, func(t *testing.T, h helm) {
				rendered := h.mustTemplate(t, test.values, "--api-versions", fenceAPI)
				variables, _ := field(t, rendered["ValidatingAdmissionPolicy "+name+"-fence-"+test.about], "spec", "variables").([]any)
				at := slices.IndexFunc(variables, func(v any) bool { return v.(map[string]any)["name"] == test.variable })
				if got := variables[at].(map[string]any)["expression"]; got != test.want {
					t.Errorf("got %s, want %s", got, test.want)
				}
			})
		})
	}
}

// The fence is about the release's own ServiceAccount and namespace, whatever
// they are called.
func TestFenceIsAboutTheReleasesServiceAccount(t *testing.T) {
	eachHelm(t, func(t *testing.T, h helm) {
		out, _, err := h.run("fullnameOverride: "+strings.Repeat("long", 20), "template", name, chartDir, "--namespace", "elsewhere", "--api-versions", fenceAPI)
		if err != nil {
			t.Fatal(err)
		}
		rendered := parse(t, out)
		fullname := strings.Repeat("long", 12)
		want := "request.userInfo.username == 'system:serviceaccount:elsewhere:" + fullname + "'"
		for _, about := range policies {
			policy := rendered["ValidatingAdmissionPolicy "+fullname+"-fence-"+about]
			conditions, _ := field(t, policy, "spec", "matchConditions").([]any)
			if diff := cmp.Diff([]any{map[string]any{"name": "is-the-operator", "expression": want}}, conditions); diff != "" {
				t.Errorf("%s (-want +got):\n%s", about, diff)
			}
			if problems := validation.IsDNS1123Subdomain(policy.GetName()); len(problems) > 0 {
				t.Error(problems)
			}
		}
		if strings.Contains(strings.ReplaceAll(out, "imagepullsecret-operator-leases-", ""), "imagepullsecret-system") {
			t.Error("something is about the default namespace")
		}
	})
}

// In force, the fence in mode named refuses what RBAC, made generous, allows.
func TestFenceIsInstalled(t *testing.T) {
	onCluster(t, func(t *testing.T, i installation) {
		const values = "rbac: {mode: named, targetSecretNames: [pull]}"
		printed := i.must(t, values, "install", name, chartDir)
		if strings.Contains(printed, "NO FENCE") {
			t.Errorf("the notes deny that there is a fence:\n%s", printed)
		}
		release := i.allowEverything(t)
		secret := func(name string) error {
			_, err := i.asOperator(t).CoreV1().Secrets("default").Create(t.Context(), &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"images.banzaicloud.io/owner-uid": "1"}},
				Type:       corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{".dockerconfigjson": []byte("{}")},
			}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		}
		attach := func(name string) error {
			_, err := i.asOperator(t).CoreV1().ServiceAccounts(namespace).Patch(t.Context(), "default", types.MergePatchType,
				[]byte(`{"metadata":{"annotations":{"images.banzaicloud.io/attached":"`+name+`"}},"imagePullSecrets":[{"name":"`+name+`"}]}`),
				metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		}
		token := func(audience string) error {
			_, err := i.asOperator(t).CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), "default",
				&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}}, metav1.CreateOptions{})
			return err
		}
		refused := func(err error, says string) bool { return err != nil && strings.Contains(err.Error(), says) }
		eventually(t, "other names are refused", func(context.Context) bool { return refused(secret("other"), "rbac.targetSecretNames") })
		eventually(t, "attaching other names is refused", func(context.Context) bool { return refused(attach("other"), "rbac.targetSecretNames") })
		eventually(t, "other audiences are refused", func(context.Context) bool { return refused(token("vault"), "fence.audiences") })
		areAllowed(t, map[string]error{
			"a Secret of the name": secret("pull"), "attaching it": attach("pull"), "an audience on the list": token("quay.io"),
		})

		i.must(t, "{"+values+", fence: {audiences: [vault]}}", "upgrade", name, chartDir)
		eventually(t, "the new audience is allowed", func(context.Context) bool { return token("vault") == nil })
		eventually(t, "the old one is not", func(context.Context) bool { return refused(token("quay.io"), "fence.audiences") })
		i.must(t, "{"+values+", fence: {enabled: false}}", "upgrade", name, chartDir)
		eventually(t, "without the fence everything is allowed", func(context.Context) bool {
			return secret("other") == nil && attach("other") == nil && token("quay.io") == nil
		})
		release()
		i.uninstall(t)
	})
}

// allowEverything lets the operator's ServiceAccount do whatever RBAC can allow,
// until the returned function is called.
func (i installation) allowEverything(t *testing.T) (end func()) {
	t.Helper()
	bindings := i.client.RbacV1().ClusterRoleBindings()
	_, err := bindings.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "everything"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: name}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := bindings.Delete(t.Context(), "everything", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// A cluster from before the API has everything else, and is told what it lacks.
func TestAClusterWithoutFence(t *testing.T) {
	onCluster(t, func(t *testing.T, i installation) {
		printed := i.must(t, "", "install", name, chartDir)
		if !strings.Contains(printed, "NO FENCE") {
			t.Errorf("the notes do not say that there is no fence:\n%s", printed)
		}
		printed = i.must(t, "{fence: {enabled: false}}", "upgrade", name, chartDir)
		if strings.Contains(printed, "NO FENCE") {
			t.Errorf("the notes miss what is not wanted:\n%s", printed)
		}
		i.uninstall(t)
	}, "--disable-admission-plugins=ValidatingAdmissionPolicy",
		"--runtime-config=admissionregistration.k8s.io/v1/validatingadmissionpolicies=false,admissionregistration.k8s.io/v1/validatingadmissionpolicybindings=false")
}
