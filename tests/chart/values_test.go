package chart

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/imagepullsecrets/operator/tests/pages"
)

func TestWrongValuesAreRefused(t *testing.T) {
	for sentence, test := range map[string]struct{ values, want string }{
		"a value that does not exist":                  {"replicaCount: 2", "additional properties 'replicaCount' not allowed"},
		"a nested value that does not exist":           {"rbac: {scope: cluster}", "additional properties 'scope' not allowed"},
		"an unknown mode":                              {"rbac: {mode: single}", "value must be one of 'cluster', 'named', 'namespaces'"},
		"mode namespaces without any":                  {"rbac: {mode: namespaces}", "rbac.namespaces must list every namespace"},
		"namespaces without mode namespaces":           {"rbac: {namespaces: [team-a]}", "set rbac.mode to namespaces, or remove it"},
		"namespaces in mode named":                     {"rbac: {mode: named, targetSecretNames: [pull], namespaces: [team-a]}", "set rbac.mode to namespaces, or remove it"},
		"a namespace that can't be":                    {"rbac: {mode: namespaces, namespaces: [team-*]}", "does not match pattern"},
		"a namespace twice":                            {"rbac: {mode: namespaces, namespaces: [team-a, team-a]}", "items at 0 and 1 are equal"},
		"annotated ones where there are no rights":     {"{rbac: {mode: namespaces, namespaces: [team-a]}, annotatedServiceAccounts: {namespaces: [team-b]}}", "holds team-b, where the operator has no rights"},
		"a first object outside the names":             {"{rbac: {mode: namespaces, namespaces: [team-a], targetSecretNames: [pull]}, defaultConfig: {enabled: true, targetSecretName: other}}", `rbac.mode is namespaces, so rbac.targetSecretNames must contain defaultConfig.targetSecretName`},
		"sources in mode cluster":                      {"rbac: {sources: [{namespace: a, names: [b]}]}", "set rbac.mode to named, or remove them"},
		"mode named without names":                     {"rbac: {mode: named}", "rbac.targetSecretNames must list every Secret name"},
		"names without mode named":                     {"rbac: {targetSecretNames: [pull]}", "set rbac.mode to named, or remove them"},
		"a name that no Secret can have":               {"rbac: {mode: named, targetSecretNames: [Pull]}", "does not match pattern"},
		"a source without names":                       {"rbac: {mode: named, targetSecretNames: [pull], sources: [{namespace: a}]}", "missing property 'names'"},
		"a first object outside mode named":            {"{rbac: {mode: named, targetSecretNames: [pull]}, defaultConfig: {enabled: true, targetSecretName: other}}", `must contain defaultConfig.targetSecretName, which is "other"`},
		"a source Secret without type":                 {"defaultSecret: {enabled: true}", "defaultSecret.enabled needs defaultSecret.type"},
		"a source Secret of a type for something else": {"defaultSecret: {enabled: true, type: Opaque}", "at '/defaultSecret/type': value must be one of"},
		"a rule that asks nothing":                     {"prometheusRule: {additionalRules: [{alert: Mine}]}", "missing property 'expr'"},
		"no workers":                                   {"targetWorkers: 0", "minimum"},
		"a resync interval without unit":               {`resyncInterval: "10"`, "does not match pattern"},
		"an unknown log level":                         {"log: {level: loud}", "at '/log/level'"},
		"an environment variable without a name":       {"extraEnv: [{value: x}]", "missing property 'name'"},
		"a failure policy for injection":               {"podInjection: {failurePolicy: Fail}", "additional properties 'failurePolicy' not allowed"},
		"a fence open to every audience":               {`fence: {audiences: ["*"]}`, "does not match pattern"},
		"an audience with two stars":                   {`fence: {audiences: ["https://*.example.com/*"]}`, "does not match pattern"},
		"a fence that only watches":                    {"fence: {validationActions: [Audit]}", "additional properties 'validationActions' not allowed"},
		"an identity without a namespace":              {"identities: [{name: pull}]", "missing property 'namespace'"},
		"a namespace of annotated ones that is none":   {"annotatedServiceAccounts: {enabled: true, namespaces: [team-*]}", "does not match pattern"},
		"an identity twice":                            {"identities: [{namespace: a, name: pull}, {namespace: a, name: pull, create: true}]", "identities lists a/pull twice"},
		"annotations for what is not made":             {"identities: [{namespace: a, name: pull, annotations: {b: c}}]", "a/pull has annotations, which need create: true"},
		"an identity of a cloud that has none":         {"credentials: {ambient: [azure]}", "value must be one of 'aws', 'google'"},
		"renewal when it is too late":                  {"credentials: {renewal: {fraction: 1}}", "maximum"},
		"a renewal interval without unit":              {`credentials: {renewal: {maxInterval: "10"}}`, "does not match pattern"},
		"a first object with a source of no kind":      {"defaultConfig: {enabled: true, credentials: [{}]}", "'oneOf' failed"},
		"a first object with a source of two kinds":    {"defaultConfig: {enabled: true, credentials: [{quay: {}, ecr: {}}]}", "'oneOf' failed"},
		"a common label that is the chart's own":       {"commonLabels: {app.kubernetes.io/name: x}", "app.kubernetes.io/name"},
		"a common label that widens a role":            {"commonLabels: {rbac.authorization.k8s.io/aggregate-to-edit: \"true\"}", "aggregate-to-edit"},
		"a strategy that does not exist":               {"strategy: {type: Canary}", "at '/strategy/type'"},
		"a volume without a name":                      {"extraVolumes: [{emptyDir: {}}]", "missing property 'name'"},
		"a mount that is nowhere":                      {"extraVolumeMounts: [{name: a}]", "missing property 'mountPath'"},
		"an object without a kind":                     {"extraObjects: [{apiVersion: v1, metadata: {name: a}}]", "at '/extraObjects/0'"},
		"a peer that is everybody":                     {"networkPolicy: {metricsFrom: [{}]}", "at '/networkPolicy/metricsFrom/0'"},
		"a peer of no kind":                            {"networkPolicy: {metricsFrom: [{labels: {a: b}}]}", "additional properties 'labels' not allowed"},
		"an address without its prefix":                {"networkPolicy: {egress: {apiServer: {cidrs: [10.0.0.1]}}}", "does not match pattern"},
		"no port for the API server":                   {"networkPolicy: {egress: {apiServer: {ports: []}}}", "minItems"},
		"a port that is none":                          {"networkPolicy: {egress: {https: {ports: [70000]}}}", "maximum"},
		"a rule for ingress among egress":              {"networkPolicy: {egress: {extra: [{from: []}]}}", "additional properties 'from' not allowed"},
		"a clean-up without an end":                    {"uninstall: {timeout: \"0\"}", "does not match pattern"},
		"a clean-up of another kind":                   {"uninstall: {force: true}", "additional properties 'force' not allowed"},
	} {
		t.Run(sentence, func(t *testing.T) {
			eachHelm(t, func(t *testing.T, h helm) {
				_, err := h.template(t, test.values)
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("want an error with %q, got: %v", test.want, err)
				}
			})
		})
	}
}

// What people copy from the documentation into their values is taken.
func TestTheDocumentationsValuesAreAccepted(t *testing.T) {
	documents, err := pages.All()
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, document := range documents {
		if _, is, err := document.Values(); err != nil || !is {
			continue // objects, and parts of some, which the integration tests check
		}
		shown++
		eachHelm(t, func(t *testing.T, h helm) {
			if _, err := h.template(t, document.Text); err != nil {
				t.Errorf("%s: %v in\n%s", document.Page, err, document.Text)
			}
		})
	}
	if shown < 5 {
		t.Errorf("only %d values were found", shown)
	}
}

// A values file of IMPS's chart works, and means what it meant.
func TestValuesOfIMPS(t *testing.T) {
	values, err := os.ReadFile("testdata/imps-values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	eachHelm(t, func(t *testing.T, h helm) {
		rendered := h.mustTemplate(t, string(values), "--api-versions", "images.banzaicloud.io/v1alpha1/ImagePullSecret")

		deployment := into[appsv1.Deployment](t, rendered, "Deployment "+namespace+"/pull-secrets")
		pod := deployment.Spec.Template.Spec
		container := pod.Containers[0]
		if want := "ghcr.io/imagepullsecrets/operator:v"; !strings.HasPrefix(container.Image, want) {
			t.Errorf("image %s, want %s…: IMPS's image knows none of our arguments", container.Image, want)
		}
		if !slices.Contains(container.Args, "--log-level=warning") {
			t.Errorf("log level warning is lost: %q", container.Args)
		}
		if want := (corev1.EnvVar{Name: "HTTPS_PROXY", Value: "http://proxy.example:3128"}); !slices.Contains(container.Env, want) {
			t.Errorf("env lacks %v: %v", want, container.Env)
		}
		if pod.SecurityContext.RunAsUser == nil || *pod.SecurityContext.RunAsUser != 65534 || !*pod.SecurityContext.RunAsNonRoot {
			t.Errorf("podSecurityContext is not IMPS's together with ours: %v", pod.SecurityContext)
		}
		if annotations := deployment.Spec.Template.Annotations; annotations["istio.banzaicloud.io/rev"] != "cp-v115x.istio-system" || annotations["example.com/owner"] != "platform" {
			t.Errorf("the Pod's annotations are %v", annotations)
		}
		if rendered["PodDisruptionBudget "+namespace+"/pull-secrets"] == nil {
			t.Error("there is no PodDisruptionBudget")
		}

		first := rendered["ImagePullSecret pull-secrets-default"]
		if first == nil {
			t.Fatal("there is no default ImagePullSecret")
		}
		want := map[string]any{
			"registry": map[string]any{"credentials": []any{
				map[string]any{"name": "pull-secrets-default", "namespace": namespace},
			}},
			"target": map[string]any{
				"secret":             map[string]any{"name": "company-registry"},
				"namespaces":         map[string]any{"labels": []any{map[string]any{"matchLabels": map[string]any{"team": "a"}}}},
				"namespacesWithPods": map[string]any{"annotations": []any{map[string]any{"matchAnnotations": map[string]any{"pull": "yes"}}}},
			},
		}
		if diff := cmp.Diff(want, first.Object["spec"]); diff != "" {
			t.Errorf("default ImagePullSecret (-want +got):\n%s", diff)
		}
		if hook := first.GetAnnotations()["helm.sh/hook"]; hook != "" {
			t.Errorf("it is a %s hook although the cluster knows the kind", hook)
		}
		source := rendered["Secret "+namespace+"/pull-secrets-default"]
		if source == nil || source.Object["type"] != "banzaicloud.io/aws-ecr-login-config" {
			t.Errorf("there is no default Secret of the right type: %v", source)
		}
	})
}

// What most values do not touch, all at once.
func TestValuesForThePod(t *testing.T) {
	const values = `
proxy: {httpsProxy: "http://proxy:1", noProxy: 10.0.0.0/8}
trustedCA: {configMapName: company-ca, key: bundle.pem}
env: {A: b}
extraEnv: [{name: C, value: d}]
extraArgs: [--one-more]
priorityClassName: system-cluster-critical
topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]
image: {repository: mirror.example/operator, digest: "sha256:` + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" + `"}
`
	eachHelm(t, func(t *testing.T, h helm) {
		pod := into[appsv1.Deployment](t, h.mustTemplate(t, values), "Deployment "+namespace+"/"+name).Spec.Template.Spec
		container := pod.Containers[0]
		for _, want := range []corev1.EnvVar{
			{Name: "HTTPS_PROXY", Value: "http://proxy:1"},
			{Name: "NO_PROXY", Value: "10.0.0.0/8"},
			{Name: "SSL_CERT_DIR", Value: "/etc/imagepullsecret-operator/trusted-ca"},
			{Name: "A", Value: "b"},
			{Name: "C", Value: "d"},
		} {
			if !slices.Contains(container.Env, want) {
				t.Errorf("env lacks %v: %v", want, container.Env)
			}
		}
		if got := container.Args[len(container.Args)-1]; got != "--one-more" {
			t.Errorf("the last argument is %s", got)
		}
		volume := pod.Volumes[0].ConfigMap
		if volume.Name != "company-ca" || volume.Items[0] != (corev1.KeyToPath{Key: "bundle.pem", Path: "ca.crt"}) {
			t.Errorf("trusted CA is mounted from %v", volume)
		}
		if container.VolumeMounts[0].MountPath != "/etc/imagepullsecret-operator/trusted-ca" {
			t.Errorf("trusted CA is mounted at %v", container.VolumeMounts)
		}
		if !strings.HasPrefix(container.Image, "mirror.example/operator@sha256:") {
			t.Errorf("the digest does not go before the tag: %s", container.Image)
		}
		if pod.PriorityClassName != "system-cluster-critical" || len(pod.TopologySpreadConstraints) != 1 {
			t.Errorf("scheduling values are lost: %v", pod)
		}
	})
}

// Where the Pod may run, and what is written on it.
func TestValuesForPlacement(t *testing.T) {
	const values = `
nodeSelector: {pool: system}
affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone}]}}
tolerations: [{key: system, operator: Exists, effect: NoSchedule}]
podAnnotations: {example.com/owner: platform}
podLabels: {tier: infra}
istio: {revision: canary}
`
	eachHelm(t, func(t *testing.T, h helm) {
		template := into[appsv1.Deployment](t, h.mustTemplate(t, values), "Deployment "+namespace+"/"+name).Spec.Template
		got := map[string]any{
			"nodeSelector": template.Spec.NodeSelector, "affinity": template.Spec.Affinity, "tolerations": template.Spec.Tolerations,
			"annotations": template.Annotations, "tier": template.Labels["tier"], "name": template.Labels["app.kubernetes.io/name"],
		}
		want := map[string]any{
			// A map is merged with its default.
			"nodeSelector": map[string]string{"pool": "system", "kubernetes.io/os": "linux"},
			"affinity": &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: "zone"}},
			}},
			"tolerations": []corev1.Toleration{{Key: "system", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}},
			"annotations": map[string]string{
				"kubectl.kubernetes.io/default-container": "manager", "istio.banzaicloud.io/rev": "canary", "example.com/owner": "platform",
			},
			"tier": "infra", "name": name,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the Pod (-want +got):\n%s", diff)
		}
	})
}

// What is said of credentials reaches the operator; what is not, is left to its
// own defaults, which are the chart's.
func TestValuesForCredentials(t *testing.T) {
	for sentence, test := range map[string]struct {
		values string
		want   []string
	}{
		"nothing by default": {},
		"clouds with an identity of the operator's own": {
			values: "credentials: {ambient: [aws, google]}",
			want:   []string{"--ambient-credentials=aws,google"},
		},
		"the whole of renewal": {
			values: "credentials: {renewal: {fraction: 0.75, minInterval: 1m, maxInterval: 1h30m}}",
			want:   []string{"--renewal-fraction=0.75", "--renewal-min-interval=1m", "--renewal-max-interval=1h30m"},
		},
		"a part of renewal": {
			values: "credentials: {renewal: {maxInterval: 6h}}",
			want:   []string{"--renewal-max-interval=6h"},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			eachHelm(t, func(t *testing.T, h helm) {
				deployment := into[appsv1.Deployment](t, h.mustTemplate(t, test.values), "Deployment "+namespace+"/"+name)
				var got []string
				for _, arg := range deployment.Spec.Template.Spec.Containers[0].Args {
					if strings.HasPrefix(arg, "--ambient-") || strings.HasPrefix(arg, "--renewal-") {
						got = append(got, arg)
					}
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("arguments (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// Whom a cloud trusts is made only where that is asked for.
func TestIdentitiesAreMadeOnDemand(t *testing.T) {
	const values = `identities: [{namespace: a, name: there}, {namespace: a, name: new, create: true, annotations: {owner: us}}]`
	for sentence, more := range map[string]string{
		"with the chart's roles":    "",
		"without the chart's roles": "\nrbac: {create: false}",
	} {
		t.Run(sentence, func(t *testing.T) {
			eachHelm(t, func(t *testing.T, h helm) {
				rendered := h.mustTemplate(t, values+more)
				if rendered["ServiceAccount a/there"] != nil {
					t.Error("a ServiceAccount is made without create")
				}
				account := into[corev1.ServiceAccount](t, rendered, "ServiceAccount a/new")
				if account.Annotations["owner"] != "us" {
					t.Errorf("its annotations are lost: %v", account.Annotations)
				}
				if account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
					t.Error("Pods are given its token unasked")
				}
			})
		})
	}
}
