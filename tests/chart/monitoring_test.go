package chart

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Prometheus finds the metrics: what the ServiceMonitor selects is the Service, its
// port is one of the Service's, and behind that is a port of the Pod's.
func TestTheServiceMonitorFindsTheMetrics(t *testing.T) {
	const values = `{serviceMonitor: {enabled: true, scrapeInterval: 30s, labels: {release: prometheus}, tlsConfig: {insecureSkipVerify: true}},
		service: {port: 9999}, nameOverride: other}`
	type serviceMonitor struct {
		metav1.ObjectMeta `json:"metadata"`
		Spec              struct {
			Selector          metav1.LabelSelector `json:"selector"`
			NamespaceSelector any                  `json:"namespaceSelector"`
			Endpoints         []struct {
				Port      string         `json:"port"`
				Interval  string         `json:"interval"`
				Scheme    string         `json:"scheme"`
				TLSConfig map[string]any `json:"tlsConfig"`
			} `json:"endpoints"`
		} `json:"spec"`
	}
	eachHelm(t, func(t *testing.T, h helm) {
		rendered := h.mustTemplate(t, values)
		const full = namespace + "/" + name + "-other"
		monitor := into[serviceMonitor](t, rendered, "ServiceMonitor "+full)
		service := into[corev1.Service](t, rendered, "Service "+full+"-metrics")
		pod := into[appsv1.Deployment](t, rendered, "Deployment "+full).Spec.Template
		selector, err := metav1.LabelSelectorAsSelector(&monitor.Spec.Selector)
		if err != nil || selector.Empty() || !selector.Matches(labels.Set(service.Labels)) || monitor.Spec.NamespaceSelector != nil {
			t.Errorf("it selects %v in %v (%v), the Service has %v", selector, monitor.Spec.NamespaceSelector, err, service.Labels)
		}
		if !labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(pod.Labels)) {
			t.Errorf("the Service selects %v, the Pod has %v", service.Spec.Selector, pod.Labels)
		}
		if monitor.Labels["release"] != "prometheus" {
			t.Errorf("its labels are %v", monitor.Labels)
		}
		endpoint, port := monitor.Spec.Endpoints[0], service.Spec.Ports[0]
		if endpoint.Port != port.Name || port.Port != 9999 || !slices.ContainsFunc(pod.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool {
			return p.Name == port.TargetPort.StrVal && p.ContainerPort == 8080
		}) {
			t.Errorf("it scrapes %v, the Service has %v, the container %v", endpoint, port, pod.Spec.Containers[0].Ports)
		}
		if endpoint.Interval != "30s" || endpoint.Scheme != "https" || endpoint.TLSConfig["insecureSkipVerify"] != true {
			t.Errorf("it scrapes %v", endpoint)
		}
	})
}

// What the PodMonitor selects are the operator's Pods, and its port is theirs.
func TestThePodMonitorFindsTheMetrics(t *testing.T) {
	const values = `{podMonitor: {enabled: true, scrapeInterval: 30s, labels: {release: prometheus}}, nameOverride: other}`
	type podMonitor struct {
		metav1.ObjectMeta `json:"metadata"`
		Spec              struct {
			Selector  metav1.LabelSelector `json:"selector"`
			Endpoints []struct {
				Port     string `json:"port"`
				Interval string `json:"interval"`
			} `json:"podMetricsEndpoints"`
		} `json:"spec"`
	}
	eachHelm(t, func(t *testing.T, h helm) {
		rendered := h.mustTemplate(t, values)
		const full = namespace + "/" + name + "-other"
		monitor := into[podMonitor](t, rendered, "PodMonitor "+full)
		pod := into[appsv1.Deployment](t, rendered, "Deployment "+full).Spec.Template
		selector, err := metav1.LabelSelectorAsSelector(&monitor.Spec.Selector)
		if err != nil || selector.Empty() || !selector.Matches(labels.Set(pod.Labels)) {
			t.Errorf("it selects %v (%v), the Pod has %v", selector, err, pod.Labels)
		}
		if monitor.Labels["release"] != "prometheus" || monitor.Spec.Endpoints[0].Interval != "30s" {
			t.Errorf("its labels are %v, it scrapes %v", monitor.Labels, monitor.Spec.Endpoints)
		}
		if !slices.ContainsFunc(pod.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool {
			return p.Name == monitor.Spec.Endpoints[0].Port && p.ContainerPort == 8080
		}) {
			t.Errorf("it scrapes %v, the container has %v", monitor.Spec.Endpoints, pod.Spec.Containers[0].Ports)
		}
	})
}

// rule is a rule of the Prometheus operator's, as far as it is documented.
type rule struct {
	Alert string `json:"alert"`
	Expr  string `json:"expr"`
	For   string `json:"for"`
}

type prometheusRule struct {
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Groups []struct {
			Name  string `json:"name"`
			Rules []rule `json:"rules"`
		} `json:"groups"`
	} `json:"spec"`
}

// The alerts are those of docs/operations.md, and ask for metrics that there are,
// by labels that these have.
func TestAlertsAreTheDocumentedOnes(t *testing.T) {
	page, err := os.ReadFile(repository + "/docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(page), "```yaml\n- alert:")
	block, _, closed := strings.Cut(block, "```")
	var documented []rule
	if err := yaml.Unmarshal([]byte("- alert:"+block), &documented); err != nil || !found || !closed {
		t.Fatalf("the page has no alerts: %v", err)
	}
	existing := metricLabels(t)
	for _, alert := range documented {
		labels := map[string]bool{}
		for _, metric := range metricName.FindAllString(alert.Expr, -1) {
			if existing[metric] == nil {
				t.Errorf("%s: there is no metric %s", alert.Alert, metric)
			}
			maps.Copy(labels, existing[metric])
		}
		for _, match := range usedLabels.FindAllStringSubmatch(alert.Expr, -1) {
			for _, label := range strings.Split(match[1]+match[2], ", ") {
				if !labels[label] {
					t.Errorf("%s: none of its metrics has a label %s", alert.Alert, label)
				}
			}
		}
	}
	eachHelm(t, func(t *testing.T, h helm) {
		rendered := h.mustTemplate(t, "prometheusRule: {enabled: true, labels: {release: prometheus}, additionalRules: [{alert: Mine, expr: up == 0, for: 1m}]}")
		got := into[prometheusRule](t, rendered, "PrometheusRule "+namespace+"/"+name)
		want := append(slices.Clone(documented), rule{"Mine", "up == 0", "1m"})
		if diff := cmp.Diff(want, got.Spec.Groups[0].Rules); diff != "" {
			t.Errorf("alerts (-documented +rendered):\n%s", diff)
		}
		if got.Labels["release"] != "prometheus" || got.Spec.Groups[0].Name != name {
			t.Errorf("labels %v, group %s", got.Labels, got.Spec.Groups[0].Name)
		}
	})
}

var (
	metricName = regexp.MustCompile(`imagepullsecret_[a-z_]+`)
	// usedLabels are those behind "by", and those that a series is chosen by.
	usedLabels = regexp.MustCompile(`by \(([a-z_, ]+)\)|\{([a-z_]+)!?="`)
	metricRow  = regexp.MustCompile("(?m)^\\| `(imagepullsecret_[a-z_]+)` \\| [a-z]+ \\| ([^|]*) \\|")
)

// metricLabels are the labels of the operator's metrics, from the page that is
// written from their registry.
func metricLabels(t *testing.T) map[string]map[string]bool {
	t.Helper()
	page, err := os.ReadFile(repository + "/docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]bool{}
	for _, row := range metricRow.FindAllStringSubmatch(string(page), -1) {
		all[row[1]] = map[string]bool{}
		for label := range strings.SplitSeq(row[2], ", ") {
			all[row[1]][strings.Trim(label, "`")] = true
		}
	}
	return all
}

// An alert follows the time at which logins are renewed.
func TestTheAlertOfExpiryFollowsTheRenewal(t *testing.T) {
	eachHelm(t, func(t *testing.T, h helm) {
		rendered := h.mustTemplate(t, "{prometheusRule: {enabled: true}, credentials: {renewal: {fraction: 0.9}}}")
		if expr := into[prometheusRule](t, rendered, "PrometheusRule "+namespace+"/"+name).Spec.Groups[0].Rules[0].Expr; !strings.Contains(expr, "< 0.05 * (") {
			t.Errorf("it is %s", expr)
		}
	})
}
