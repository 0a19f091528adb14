package chart

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// The whole list of rights, written out: a right that comes or goes must be
// changed here as well.
func TestRightsAreExactlyThese(t *testing.T) {
	own := rbacv1.PolicyRule{APIGroups: []string{"images.banzaicloud.io"}, Resources: []string{"imagepullsecrets"}, Verbs: []string{"get", "list", "watch"}}
	status := rbacv1.PolicyRule{APIGroups: []string{"images.banzaicloud.io"}, Resources: []string{"imagepullsecrets/status"}, Verbs: []string{"patch"}}
	namespaces := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"list", "watch"}}
	pods := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list", "watch"}}
	accounts := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, Verbs: []string{"get", "list", "watch", "patch"}}
	events := rbacv1.PolicyRule{APIGroups: []string{"events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}}
	recovery := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}},
		{APIGroups: []string{""}, Resources: []string{"pods/eviction"}, Verbs: []string{"create"}},
		{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, Verbs: []string{"get"}},
	}
	secrets := func(verbs []string, names ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: names, Verbs: verbs}
	}
	read := []string{"get", "list", "watch"}
	identities := func(names ...string) []rbacv1.PolicyRule {
		return []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, ResourceNames: names, Verbs: read},
			{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, ResourceNames: names, Verbs: []string{"create"}},
		}
	}
	anyToken := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, Verbs: []string{"create"}}
	keep := []string{"get", "list", "watch", "create", "patch", "delete"}
	// everything is what the operator may in the cluster with every switch on.
	everywhere := []rbacv1.PolicyRule{own, status, namespaces}
	inTargets := func(secrets rbacv1.PolicyRule) []rbacv1.PolicyRule {
		return slices.Concat([]rbacv1.PolicyRule{pods}, recovery, []rbacv1.PolicyRule{accounts, events, secrets})
	}
	everything := func(secrets rbacv1.PolicyRule) []rbacv1.PolicyRule {
		return slices.Concat(everywhere, inTargets(secrets))
	}
	leases := make([]string, 32)
	for i := range leases {
		leases[i] = fmt.Sprintf("imagepullsecret-operator-leases-%d", i)
	}
	always := map[string][]rbacv1.PolicyRule{
		"Role " + namespace + "/" + name: {secrets([]string{"get", "create", "patch"}, leases...)},
		"Role " + namespace + "/" + name + "-leader-election": {
			{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"create"}},
			{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: []string{name}, Verbs: []string{"get", "update", "patch"}},
			{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}},
		},
	}
	for sentence, test := range map[string]struct {
		values string
		want   map[string][]rbacv1.PolicyRule
		args   []string // of the Deployment
	}{
		"by default Secrets of any name": {
			want: map[string][]rbacv1.PolicyRule{
				"ClusterRole " + name: everything(secrets(keep)),
			},
			args: []string{"--pod-selectors=true", "--pod-recovery=true", "--service-accounts=true"},
		},
		"without Pod selectors no Pods": {
			values: "podSelectors: {enabled: false}",
			want: map[string][]rbacv1.PolicyRule{
				"ClusterRole " + name: slices.Concat([]rbacv1.PolicyRule{own, status, namespaces}, recovery, []rbacv1.PolicyRule{accounts, events, secrets(keep)}),
			},
			args: []string{"--pod-selectors=false"},
		},
		"without attaching no writing to ServiceAccounts": {
			values: "serviceAccounts: {enabled: false}",
			want: map[string][]rbacv1.PolicyRule{
				"ClusterRole " + name: slices.Concat([]rbacv1.PolicyRule{own, status, namespaces, pods}, recovery, []rbacv1.PolicyRule{events, secrets(keep)}),
			},
			args: []string{"--service-accounts=false", "--pod-selectors=true"},
		},
		"tokens of any ServiceAccount only where annotated ones may ask": {
			values: "annotatedServiceAccounts: {enabled: true}",
			want: map[string][]rbacv1.PolicyRule{
				"ClusterRole " + name: everything(secrets(keep)),
				"ClusterRole " + name + "-annotated-service-accounts": {anyToken},
			},
			args: []string{"--annotated-service-accounts"},
		},
		"tokens of all ServiceAccounts of the listed namespaces, where annotated ones may ask in these only": {
			values: `annotatedServiceAccounts: {enabled: true, namespaces: [team-a, "1"]}`,
			want: map[string][]rbacv1.PolicyRule{
				"ClusterRole " + name: everything(secrets(keep)),
				"Role team-a/" + name + "-annotated-service-accounts": {anyToken},
				"Role 1/" + name + "-annotated-service-accounts":      {anyToken},
			},
			args: []string{"--annotated-service-accounts"},
		},
		"no tokens of listed namespaces while annotated ones may not ask": {
			values: `annotatedServiceAccounts: {namespaces: [team-a]}`,
			want:   map[string][]rbacv1.PolicyRule{"ClusterRole " + name: everything(secrets(keep))},
		},
		"annotated Secrets of the named names only, and the tokens of one ServiceAccount": {
			values: `annotatedSecrets: {enabled: true, names: [pull-secret, other], allow: [{namespace: team-a, identity: abc}, {namespace: "*", identity: "*"}],
				serviceAccount: {namespace: pull-secret-updater, name: controller}}`,
			want: map[string][]rbacv1.PolicyRule{
				"ClusterRole " + name:                                     everything(secrets(keep)),
				"ClusterRole " + name + "-annotated-secrets":              {secrets([]string{"get", "list", "watch", "patch"}, "pull-secret", "other")},
				"Role pull-secret-updater/" + name + "-annotated-secrets": identities("controller"),
			},
			args: []string{
				"--annotated-secrets", "--annotated-secret-names=pull-secret,other", "--chainguard-allow=team-a=abc", "--chainguard-allow=*=*",
				"--chainguard-service-account=pull-secret-updater/controller", "--chainguard-audience=issuer.enforce.dev",
			},
		},
		"without recovery of Pods none of what it takes": {
			values: "podRecovery: {enabled: false}",
			want: map[string][]rbacv1.PolicyRule{
				"ClusterRole " + name: {own, status, namespaces, pods, accounts, events, secrets(keep)},
			},
			args: []string{"--pod-recovery=false"},
		},
		"in mode named only the named Secrets, and the named sources in their namespaces": {
			values: `{rbac: {mode: named, targetSecretNames: [pull, other], sources: [
				{namespace: registry-access, names: [dockerhub, ecr]}, {namespace: team-a, names: [own]}]}}`,
			want: map[string][]rbacv1.PolicyRule{
				"ClusterRole " + name:                         everything(secrets(keep, "pull", "other")),
				"Role registry-access/" + name + "-sources-0": {secrets(read, "dockerhub", "ecr")},
				"Role team-a/" + name + "-sources-1":          {secrets(read, "own")},
			},
			args: []string{"--target-secret-names=pull,other", "--pod-selectors=true"},
		},
		"in mode named the chart's own source Secret": {
			values: `{rbac: {mode: named, targetSecretNames: [pull]},
				defaultSecret: {enabled: true, type: kubernetes.io/dockercfg, stringData: {.dockercfg: "{}"}}}`,
			want: map[string][]rbacv1.PolicyRule{
				"ClusterRole " + name:                           everything(secrets(keep, "pull")),
				"Role " + namespace + "/" + name + "-sources-0": {secrets(read, name+"-default")},
			},
			args: []string{"--target-secret-names=pull"},
		},
		"in mode namespaces all of it in the listed namespaces only, the named sources in theirs, and events where those about ImagePullSecrets stand": {
			values: `{rbac: {mode: namespaces, namespaces: [team-a, "1"], sources: [{namespace: registry-access, names: [dockerhub]}]}}`,
			want: map[string][]rbacv1.PolicyRule{
				"ClusterRole " + name:                         everywhere,
				"Role team-a/" + name + "-targets":            inTargets(secrets(keep)),
				"Role 1/" + name + "-targets":                 inTargets(secrets(keep)),
				"Role default/" + name + "-events":            {events},
				"Role registry-access/" + name + "-sources-0": {secrets(read, "dockerhub")},
			},
			args: []string{"--watch-namespaces=team-a,1", "--pod-selectors=true"},
		},
		"in mode namespaces of the named Secrets only, if there are names": {
			values: `{rbac: {mode: namespaces, namespaces: [team-a], targetSecretNames: [pull, other]}}`,
			want: map[string][]rbacv1.PolicyRule{
				"ClusterRole " + name:              everywhere,
				"Role team-a/" + name + "-targets": inTargets(secrets(keep, "pull", "other")),
				"Role default/" + name + "-events": {events},
			},
			args: []string{"--watch-namespaces=team-a", "--target-secret-names=pull,other"},
		},
		"in mode namespaces with every switch off no more than keeping Secrets and telling": {
			values: `{rbac: {mode: namespaces, namespaces: [team-a]}, podSelectors: {enabled: false}, podRecovery: {enabled: false}, serviceAccounts: {enabled: false}}`,
			want: map[string][]rbacv1.PolicyRule{
				"ClusterRole " + name:              everywhere,
				"Role team-a/" + name + "-targets": {events, secrets(keep)},
				"Role default/" + name + "-events": {events},
			},
		},
		"in mode namespaces what annotated objects ask for in the listed namespaces only": {
			values: `{rbac: {mode: namespaces, namespaces: [team-a, team-b], targetSecretNames: [pull]}, annotatedServiceAccounts: {enabled: true}, annotatedSecrets: {enabled: true}}`,
			want: map[string][]rbacv1.PolicyRule{
				"ClusterRole " + name:                                   everywhere,
				"Role team-a/" + name + "-targets":                      inTargets(secrets(keep, "pull")),
				"Role team-b/" + name + "-targets":                      inTargets(secrets(keep, "pull")),
				"Role default/" + name + "-events":                      {events},
				"Role team-a/" + name + "-annotated-service-accounts":   {anyToken},
				"Role team-b/" + name + "-annotated-service-accounts":   {anyToken},
				"Role team-a/" + name + "-annotated-secret-names":       {secrets([]string{"get", "list", "watch", "patch"}, "pull-secret")},
				"Role team-b/" + name + "-annotated-secret-names":       {secrets([]string{"get", "list", "watch", "patch"}, "pull-secret")},
				"Role " + namespace + "/" + name + "-annotated-secrets": identities(name),
			},
		},
		"in mode namespaces tokens of annotated ServiceAccounts in fewer of them, if these are listed": {
			values: `{rbac: {mode: namespaces, namespaces: [team-a, team-b]}, annotatedServiceAccounts: {enabled: true, namespaces: [team-b]}}`,
			want: map[string][]rbacv1.PolicyRule{
				"ClusterRole " + name:                                 everywhere,
				"Role team-a/" + name + "-targets":                    inTargets(secrets(keep)),
				"Role team-b/" + name + "-targets":                    inTargets(secrets(keep)),
				"Role default/" + name + "-events":                    {events},
				"Role team-b/" + name + "-annotated-service-accounts": {anyToken},
			},
		},
		"tokens of those ServiceAccounts only that are listed, in their namespaces": {
			values: `identities: [{namespace: registry-access, name: aws, create: true}, {namespace: "1", name: "on"}, {namespace: registry-access, name: quay}]`,
			want: map[string][]rbacv1.PolicyRule{
				"ClusterRole " + name:                          everything(secrets(keep)),
				"Role registry-access/" + name + "-identities": identities("aws", "quay"),
				"Role 1/" + name + "-identities":               identities("on"),
			},
		},
		"none without rbac.create": {values: "{rbac: {create: false}, identities: [{namespace: registry-access, name: aws}]}", want: map[string][]rbacv1.PolicyRule{}},
	} {
		t.Run(sentence, func(t *testing.T) {
			eachHelm(t, func(t *testing.T, h helm) {
				rendered := h.mustTemplate(t, test.values)
				want := map[string][]rbacv1.PolicyRule{}
				for key, rules := range test.want {
					want[key] = rules
				}
				if len(want) > 0 {
					for key, rules := range always {
						want[key] = rules
					}
				}
				if diff := cmp.Diff(want, granted(t, rendered)); diff != "" {
					t.Errorf("rights (-want +got):\n%s", diff)
				}
				args := into[appsv1.Deployment](t, rendered, "Deployment "+namespace+"/"+name).Spec.Template.Spec.Containers[0].Args
				for _, arg := range test.args {
					if !slices.Contains(args, arg) {
						t.Errorf("the Deployment's arguments lack %s: %q", arg, args)
					}
				}
			})
		})
	}
}

// How many rules each RBAC mode takes, for whoever wants to compare them: -v
// shows it. An operator that is bound to namespaces has no rule on Secrets for
// all of them.
func TestRulesOfEachModeAreCounted(t *testing.T) {
	modes := map[string]string{
		"cluster":    "",
		"named":      "rbac: {mode: named, targetSecretNames: [pull]}",
		"namespaces": "rbac: {mode: namespaces, namespaces: [team-a, team-b]}",
	}
	eachHelm(t, func(t *testing.T, h helm) {
		for _, mode := range []string{"cluster", "named", "namespaces"} {
			perRole, total := []string{}, 0
			rules := granted(t, h.mustTemplate(t, modes[mode]))
			for _, role := range slices.Sorted(maps.Keys(rules)) {
				perRole = append(perRole, fmt.Sprintf("%d in %s", len(rules[role]), role))
				total += len(rules[role])
			}
			t.Logf("mode %s: %d rules: %s", mode, total, strings.Join(perRole, ", "))
			unbound := slices.ContainsFunc(rules["ClusterRole "+name], func(rule rbacv1.PolicyRule) bool {
				return slices.Contains(rule.Resources, "secrets") && len(rule.ResourceNames) == 0
			})
			if unbound != (mode == "cluster") {
				t.Errorf("mode %s: a right on all Secrets of the cluster: %t", mode, unbound)
			}
		}
	})
}

// Whoever writes ImagePullSecrets decides where credentials go: no role that
// allows it adds itself to those that people of a namespace have.
func TestWritingIsAggregatedToNobody(t *testing.T) {
	check := func(t *testing.T, all objects) {
		t.Helper()
		writers := 0
		for key, object := range all {
			if object.GetKind() != "ClusterRole" || !slices.ContainsFunc(into[rbacv1.ClusterRole](t, all, key).Rules, writesObjects) {
				continue
			}
			writers++
			for label := range object.GetLabels() {
				if strings.HasPrefix(label, "rbac.authorization.k8s.io/aggregate-to-") {
					t.Errorf("%s has the label %s", key, label)
				}
			}
		}
		if writers == 0 {
			t.Error("no role may write ImagePullSecrets")
		}
	}
	t.Run("config", func(t *testing.T) {
		out, _, err := execute(nil, "", tool(t, "kustomize"), "build", repository+"/config/default")
		if err != nil {
			t.Fatal(err)
		}
		check(t, parse(t, out))
	})
	eachHelm(t, func(t *testing.T, h helm) {
		check(t, h.mustTemplate(t, "{annotatedServiceAccounts: {enabled: true}, annotatedSecrets: {enabled: true}}"))
	})
}

// writesObjects tells whether a rule allows to write ImagePullSecrets.
func writesObjects(rule rbacv1.PolicyRule) bool {
	has := func(list []string, values ...string) bool {
		return slices.ContainsFunc(append(values, "*"), func(value string) bool { return slices.Contains(list, value) })
	}
	return has(rule.APIGroups, "images.banzaicloud.io") && has(rule.Resources, "imagepullsecrets") &&
		has(rule.Verbs, "create", "update", "patch", "delete", "deletecollection")
}

// granted are the rules of every role that is bound to the operator's
// ServiceAccount; nobody else may be bound to anything.
func granted(t *testing.T, rendered objects) map[string][]rbacv1.PolicyRule {
	t.Helper()
	rules := map[string][]rbacv1.PolicyRule{}
	operator := []rbacv1.Subject{{Kind: "ServiceAccount", Name: name, Namespace: namespace}}
	for key, object := range rendered {
		if object.GetKind() != "ClusterRoleBinding" && object.GetKind() != "RoleBinding" {
			continue
		}
		binding := into[rbacv1.RoleBinding](t, rendered, key)
		if diff := cmp.Diff(operator, binding.Subjects); diff != "" {
			t.Errorf("subjects of %s (-want +got):\n%s", key, diff)
		}
		role := "ClusterRole " + binding.RoleRef.Name
		if binding.RoleRef.Kind == "Role" {
			role = "Role " + binding.Namespace + "/" + binding.RoleRef.Name
		}
		rules[role] = into[rbacv1.Role](t, rendered, role).Rules
	}
	return rules
}
