package chart

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Labels for everything are on everything, and what is said of one thing goes
// before them.
func TestCommonLabelsAreOnEverything(t *testing.T) {
	const values = `
commonLabels: {team: platform, release: x}
podLabels: {release: pod}
serviceMonitor: {enabled: true, labels: {release: prometheus}}
podMonitor: {enabled: true}
prometheusRule: {enabled: true}
podDisruptionBudget: {enabled: true}
networkPolicy: {enabled: true}
uninstall: {cleanUp: true}
identities: [{namespace: a, name: b, create: true}]
annotatedServiceAccounts: {enabled: true, namespaces: [a]}
annotatedSecrets: {enabled: true}
rbac: {mode: named, targetSecretNames: [pull, default-secret-name], sources: [{namespace: a, names: [b]}]}
defaultConfig: {enabled: true}
defaultSecret: {enabled: true, type: kubernetes.io/dockercfg}
`
	eachHelm(t, func(t *testing.T, h helm) {
		rendered := h.mustTemplate(t, values, "--api-versions", injectionAPI+","+fenceAPI+",images.banzaicloud.io/v1alpha1/ImagePullSecret")
		for key, object := range rendered {
			if got := object.GetLabels(); got["team"] != "platform" || got["app.kubernetes.io/instance"] != name {
				t.Errorf("%s has the labels %v", key, got)
			}
			pod, found, _ := unstructured.NestedStringMap(object.Object, "spec", "template", "metadata", "labels")
			if found && pod["team"] != "platform" {
				t.Errorf("the Pod of %s has the labels %v", key, pod)
			}
		}
		pod := into[appsv1.Deployment](t, rendered, "Deployment "+namespace+"/"+name).Spec.Template.Labels["release"]
		monitor := rendered["ServiceMonitor "+namespace+"/"+name].GetLabels()["release"]
		if pod != "pod" || monitor != "prometheus" {
			t.Errorf("labels of the Pod and the ServiceMonitor are lost: %s, %s", pod, monitor)
		}
	})
}

func TestFurtherObjectsAndParts(t *testing.T) {
	const values = `
extraObjects:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: "{{ .Release.Name }}-extra"}, data: {image: "{{ include \"imagepullsecret-operator.image\" . }}"}}
- |
  apiVersion: v1
  kind: ConfigMap
  metadata:
    name: {{ .Values.clusterName }}
clusterName: second
strategy: {type: Recreate}
extraVolumes: [{name: scratch, emptyDir: {}}]
extraVolumeMounts: [{name: scratch, mountPath: /scratch}]
podDisruptionBudget: {enabled: true, maxUnavailable: 0}
`
	eachHelm(t, func(t *testing.T, h helm) {
		rendered := h.mustTemplate(t, values)
		if first := into[corev1.ConfigMap](t, rendered, "ConfigMap "+name+"-extra"); !strings.HasPrefix(first.Data["image"], "ghcr.io/imagepullsecrets/operator:v") {
			t.Errorf("templates are not evaluated: %v", first.Data)
		}
		if rendered["ConfigMap second"] == nil {
			t.Error("an object that is given as a text is not there")
		}
		deployment := into[appsv1.Deployment](t, rendered, "Deployment "+namespace+"/"+name)
		pod := deployment.Spec.Template.Spec
		if len(pod.Volumes) != 1 || pod.Volumes[0].EmptyDir == nil || pod.Containers[0].VolumeMounts[0].MountPath != "/scratch" || deployment.Spec.Strategy.Type != "Recreate" {
			t.Errorf("the volumes are %v, mounted at %v; the strategy is %v", pod.Volumes, pod.Containers[0].VolumeMounts, deployment.Spec.Strategy)
		}
		budget := into[policyv1.PodDisruptionBudget](t, rendered, "PodDisruptionBudget "+namespace+"/"+name).Spec
		if budget.MinAvailable != nil || budget.MaxUnavailable == nil || *budget.MaxUnavailable != intstr.FromInt(0) {
			t.Errorf("the budget is %v", budget)
		}
		both := into[appsv1.Deployment](t, h.mustTemplate(t, values+"trustedCA: {configMapName: ca}"), "Deployment "+namespace+"/"+name).Spec.Template.Spec
		if len(both.Volumes) != 2 || len(both.Containers[0].VolumeMounts) != 2 {
			t.Errorf("beside authorities the volumes are %v", both.Volumes)
		}
	})
}

// What the Job of the clean-up may, written out; the operator gets no right by it.
func TestRightsOfTheCleanUpAreExactlyThese(t *testing.T) {
	rule := func(group, resource string, names []string, verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, ResourceNames: names, Verbs: verbs}
	}
	objects := rule("images.banzaicloud.io", "imagepullsecrets", nil, "list", "delete")
	accounts := rule("", "serviceaccounts", nil, "get", "list", "patch")
	const cluster = "ClusterRole " + name + "-cleanup"
	for sentence, test := range map[string]struct {
		values string
		want   map[string][]rbacv1.PolicyRule // beside those in the operator's namespace
	}{
		"Secrets are seen": {"", map[string][]rbacv1.PolicyRule{cluster: {objects, rule("", "secrets", nil, "list"), accounts}}},
		"Secrets are deleted where annotated ServiceAccounts may ask": {"annotatedServiceAccounts: {enabled: true}", map[string][]rbacv1.PolicyRule{
			cluster: {objects, rule("", "secrets", nil, "list"), accounts, rule("", "secrets", nil, "delete")},
		}},
		"in their namespaces only": {"annotatedServiceAccounts: {enabled: true, namespaces: [a]}", map[string][]rbacv1.PolicyRule{
			cluster: {objects, rule("", "secrets", nil, "list"), accounts}, "Role a/" + name + "-cleanup-annotated": {rule("", "secrets", nil, "delete")},
		}},
		"in mode named only those of the names": {"annotatedServiceAccounts: {enabled: true}, rbac: {mode: named, targetSecretNames: [pull]}", map[string][]rbacv1.PolicyRule{
			cluster: {objects, rule("", "secrets", []string{"pull"}, "list"), accounts, rule("", "secrets", []string{"pull"}, "delete")},
		}},
		"nothing where others grant": {"rbac: {create: false}", nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			eachHelm(t, func(t *testing.T, h helm) {
				rendered := h.mustTemplate(t, "{uninstall: {cleanUp: true}, "+test.values+"}")
				got := rolesOfHooks(t, rendered)
				if local := got["Role "+namespace+"/"+name+"-cleanup"]; test.want != nil {
					leases := into[rbacv1.Role](t, rendered, "Role "+namespace+"/"+name).Rules[0].ResourceNames
					want := []rbacv1.PolicyRule{
						rule("apps", "deployments/scale", []string{name}, "patch"),
						rule("coordination.k8s.io", "leases", []string{name}, "get", "delete"),
						rule("", "secrets", leases, "delete"),
					}
					if diff := cmp.Diff(want, local); diff != "" {
						t.Errorf("in its own namespace (-want +got):\n%s", diff)
					}
					delete(got, "Role "+namespace+"/"+name+"-cleanup")
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("rights (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// rolesOfHooks are the roles of the clean-up, each of which is bound to its own
// ServiceAccount alone; nil if there are none.
func rolesOfHooks(t *testing.T, rendered objects) map[string][]rbacv1.PolicyRule {
	t.Helper()
	var roles map[string][]rbacv1.PolicyRule
	for key, object := range rendered {
		if object.GetAnnotations()["helm.sh/hook"] != "pre-delete" {
			continue
		}
		switch kind := object.GetKind(); kind {
		case "ClusterRole", "Role":
			if roles == nil {
				roles = map[string][]rbacv1.PolicyRule{}
			}
			roles[key] = into[rbacv1.ClusterRole](t, rendered, key).Rules
		case "ClusterRoleBinding", "RoleBinding":
			subjects := into[rbacv1.ClusterRoleBinding](t, rendered, key).Subjects
			if want := (rbacv1.Subject{Kind: "ServiceAccount", Name: name + "-cleanup", Namespace: namespace}); !slices.Equal(subjects, []rbacv1.Subject{want}) {
				t.Errorf("%s is for %v", key, subjects)
			}
		}
	}
	return roles
}
