package chart

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

func ports(protocol corev1.Protocol, numbers ...int) (all []networkingv1.NetworkPolicyPort) {
	for _, number := range numbers {
		all = append(all, networkingv1.NetworkPolicyPort{Port: ptr.To(intstr.FromInt(number)), Protocol: &protocol})
	}
	return all
}

func egressTo(cidrs []string, numbers ...int) networkingv1.NetworkPolicyEgressRule {
	rule := networkingv1.NetworkPolicyEgressRule{Ports: ports(corev1.ProtocolTCP, numbers...)}
	for _, cidr := range cidrs {
		rule.To = append(rule.To, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: cidr}})
	}
	return rule
}

func TestTheOperatorReachesWhatItNeedsAndNothingElse(t *testing.T) {
	dns := networkingv1.NetworkPolicyEgressRule{Ports: slices.Concat(ports(corev1.ProtocolUDP, 53), ports(corev1.ProtocolTCP, 53))}
	own := egressTo(nil, 8080)
	own.To = []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{
		MatchLabels: map[string]string{"app.kubernetes.io/name": name, "app.kubernetes.io/instance": name},
	}}}
	for sentence, test := range map[string]struct {
		values string
		want   []networkingv1.NetworkPolicyEgressRule
	}{
		"DNS, the API server and HTTPS": {
			"{networkPolicy: {enabled: true}}",
			[]networkingv1.NetworkPolicyEgressRule{dns, egressTo(nil, 443, 6443), egressTo(nil, 443), own},
		},
		"at the addresses that are given": {
			"{networkPolicy: {enabled: true, egress: {apiServer: {cidrs: [10.0.0.1/32], ports: [6443]}, https: {cidrs: [192.0.2.0/24, \"2001:db8::/32\"], ports: [443, 8443]}}}}",
			[]networkingv1.NetworkPolicyEgressRule{dns, egressTo([]string{"10.0.0.1/32"}, 6443), egressTo([]string{"192.0.2.0/24", "2001:db8::/32"}, 443, 8443), own},
		},
		"the ports of proxies, which may be the scheme's": {
			"{networkPolicy: {enabled: true}, proxy: {httpProxy: \"http://[2001:db8::1]\", httpsProxy: \"https://user:1234@proxy:3128/\"}}",
			[]networkingv1.NetworkPolicyEgressRule{dns, egressTo(nil, 443, 6443), egressTo(nil, 443), egressTo(nil, 80, 3128), own},
		},
		"one proxy for both, without a scheme": {
			"{networkPolicy: {enabled: true, egress: {https: {cidrs: [192.0.2.7/32]}}}, proxy: {httpProxy: \"proxy:3128\", httpsProxy: \"proxy:3128\"}}",
			[]networkingv1.NetworkPolicyEgressRule{dns, egressTo(nil, 443, 6443), egressTo([]string{"192.0.2.7/32"}, 443), egressTo([]string{"192.0.2.7/32"}, 3128), own},
		},
		"where the operator's own identity comes from": {
			"{networkPolicy: {enabled: true}, credentials: {ambient: [aws]}}",
			[]networkingv1.NetworkPolicyEgressRule{
				dns, egressTo(nil, 443, 6443), egressTo(nil, 443),
				egressTo([]string{"169.254.169.254/32", "169.254.170.23/32", "fd00:ec2::254/128", "fd00:ec2::23/128"}, 80),
				egressTo([]string{"169.254.169.252/32"}, 987, 988), own,
			},
		},
		"and what is added": {
			"{networkPolicy: {enabled: true, egress: {extra: [{ports: [{port: 8443, protocol: TCP}]}]}}}",
			[]networkingv1.NetworkPolicyEgressRule{dns, egressTo(nil, 443, 6443), egressTo(nil, 443), own, egressTo(nil, 8443)},
		},
		"anything, if egress is left alone": {"{networkPolicy: {enabled: true, egress: {enabled: false}}}", nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			eachHelm(t, func(t *testing.T, h helm) {
				policy := into[networkingv1.NetworkPolicy](t, h.mustTemplate(t, test.values), "NetworkPolicy "+namespace+"/"+name)
				if diff := cmp.Diff(test.want, policy.Spec.Egress); diff != "" {
					t.Errorf("egress (-want +got):\n%s", diff)
				}
				if restricted := slices.Contains(policy.Spec.PolicyTypes, networkingv1.PolicyTypeEgress); restricted != (test.want != nil) {
					t.Errorf("egress is restricted: %t", restricted)
				}
			})
		})
	}
}

func TestOnlyTheMetricsAreReached(t *testing.T) {
	const values = "{networkPolicy: {enabled: true, metricsFrom: [{namespaceSelector: {matchLabels: {team: monitoring}}}]}}"
	eachHelm(t, func(t *testing.T, h helm) {
		if policy := h.mustTemplate(t, "")["NetworkPolicy "+namespace+"/"+name]; policy != nil {
			t.Error("there is a NetworkPolicy by default")
		}
		policy := into[networkingv1.NetworkPolicy](t, h.mustTemplate(t, values), "NetworkPolicy "+namespace+"/"+name)
		want := []networkingv1.NetworkPolicyIngressRule{{
			Ports: ports(corev1.ProtocolTCP, 8080),
			From: []networkingv1.NetworkPolicyPeer{
				{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/name": name + "-hook", "app.kubernetes.io/instance": name}}},
				{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "monitoring"}}},
			},
		}}
		if diff := cmp.Diff(want, policy.Spec.Ingress); diff != "" || !slices.Contains(policy.Spec.PolicyTypes, networkingv1.PolicyTypeIngress) {
			t.Errorf("policy for %v, ingress (-want +got):\n%s", policy.Spec.PolicyTypes, diff)
		}
	})
}

// The policy is for all Pods of the chart, and the Deployment and the Service are
// for those of the operator alone, also where names are long.
func TestPodsOfHooksAreNotTheOperators(t *testing.T) {
	const long = "a-name-of-more-than-sixty-characters-which-is-cut-somewhere-before-its-end"
	for sentence, values := range map[string]string{"": "", "with a long name": "nameOverride: " + long + ", fullnameOverride: " + name + ", "} {
		t.Run(sentence, func(t *testing.T) {
			eachHelm(t, func(t *testing.T, h helm) {
				rendered := h.mustTemplate(t, "{"+values+"networkPolicy: {enabled: true}, uninstall: {cleanUp: true}}")
				deployment := into[appsv1.Deployment](t, rendered, "Deployment "+namespace+"/"+name)
				service := into[corev1.Service](t, rendered, "Service "+namespace+"/"+name+"-metrics")
				policy := into[networkingv1.NetworkPolicy](t, rendered, "NetworkPolicy "+namespace+"/"+name)
				selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
				if err != nil {
					t.Fatal(err)
				}
				for what, hook := range map[string]map[string]string{
					"helm test's":    into[corev1.Pod](t, rendered, "Pod "+namespace+"/"+name+"-check").Labels,
					"the clean-up's": into[batchv1.Job](t, rendered, "Job "+namespace+"/"+name+"-cleanup").Spec.Template.Labels,
				} {
					if !selector.Matches(labels.Set(hook)) || labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(hook)) ||
						labels.SelectorFromSet(deployment.Spec.Selector.MatchLabels).Matches(labels.Set(hook)) {
						t.Errorf("%s Pod has the labels %v", what, hook)
					}
				}
				if !selector.Matches(labels.Set(deployment.Spec.Template.Labels)) {
					t.Errorf("the policy selects %s, not the operator", selector)
				}
			})
		})
	}
}
