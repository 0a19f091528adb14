// Package metrics holds the operator's own Prometheus metrics. None has a
// label whose values grow with the number of namespaces, or of objects in them:
// only ImagePullSecrets have series of their own.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/imagepullsecrets/operator/internal/rights"
	"github.com/imagepullsecrets/operator/internal/version"
)

const prefix = "imagepullsecret"

// Metrics are the operator's metrics; make one per process.
type Metrics struct {
	credentialExpiry  *prometheus.GaugeVec
	credentialRenewal *prometheus.GaugeVec
	exchanges         *prometheus.CounterVec
	exchangeDuration  *prometheus.HistogramVec
	leasesNotSaved    prometheus.Counter
	targets           *prometheus.GaugeVec
	writes            *prometheus.CounterVec
	attachments       *prometheus.CounterVec
	propagation       prometheus.Histogram
	evictions         *prometheus.CounterVec
}

// New returns the metrics, registered with registerer.
func New(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		credentialExpiry:  gauge("credential_expiry_timestamp_seconds", "When the login in use expires, as a Unix time. Absent for logins that do not expire.", credentialLabels),
		credentialRenewal: gauge("credential_last_renewal_timestamp_seconds", "When the login in use was obtained, as a Unix time. Absent for logins that do not expire.", credentialLabels),
		exchanges:         counter("exchanges_total", "Exchanges with a credential provider, by result: success, invalid, denied, throttled, clock_skew, transient or forbidden.", "provider", "result"),
		exchangeDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name("exchange_duration_seconds"), Help: "Time that an exchange with a credential provider took.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20},
		}, []string{"provider"}),
		leasesNotSaved: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name("lease_save_failures_total"), Help: "Leases that could not be persisted and will be obtained anew after a restart.",
		}),
		targets:     gauge("targets", "Selected namespaces, by state of their Secret: ready, failing or pending.", []string{"imagepullsecret", "state"}),
		writes:      counter("target_writes_total", "Writes of target Secrets, by operation (apply, delete) and result: success, conflict, forbidden or error.", "operation", "result"),
		attachments: counter("serviceaccount_writes_total", "Writes of ServiceAccounts' imagePullSecrets, by result: success, conflict, forbidden or error.", "result"),
		propagation: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: name("propagation_seconds"), Help: "Time from a new namespace coming to be known to its Secret being written.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
		evictions: counter("pod_evictions_total", "Evictions of Pods that came before a Secret could reach them, by result: success, disruption_budget, forbidden or error.", "result"),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: name("build_info"), Help: "Always 1; the labels tell the version, the commit that it was built from and the commit's date.",
		ConstLabels: prometheus.Labels{"version": version.Version(), "commit": version.Commit(), "date": version.Date()},
	})
	build.Set(1)
	registerer.MustRegister(build, m.credentialExpiry, m.credentialRenewal, m.exchanges, m.exchangeDuration,
		m.leasesNotSaved, m.targets, m.writes, m.attachments, m.propagation, m.evictions)
	return m
}

var credentialLabels = []string{"imagepullsecret", "credential", "provider"}

func name(suffix string) string { return prefix + "_" + suffix }

func gauge(suffix, help string, labels []string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name(suffix), Help: help}, labels)
}

func counter(suffix, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name(suffix), Help: help}, labels)
}

// ExchangeDone counts one exchange.
func (m *Metrics) ExchangeDone(provider, result string, took time.Duration) {
	m.exchanges.WithLabelValues(provider, result).Inc()
	m.exchangeDuration.WithLabelValues(provider).Observe(took.Seconds())
}

// LeaseNotSaved counts a lease that could not be persisted.
func (m *Metrics) LeaseNotSaved() { m.leasesNotSaved.Inc() }

// Credential is the state of one credential of one ImagePullSecret.
type Credential struct {
	Name, Provider     string
	ExpiresAt, Renewed time.Time
}

// SetCredentials replaces what is told of an ImagePullSecret's credentials.
func (m *Metrics) SetCredentials(object string, credentials []Credential) {
	byObject := prometheus.Labels{"imagepullsecret": object}
	m.credentialExpiry.DeletePartialMatch(byObject)
	m.credentialRenewal.DeletePartialMatch(byObject)
	for _, c := range credentials {
		m.credentialExpiry.WithLabelValues(object, c.Name, c.Provider).Set(float64(c.ExpiresAt.Unix()))
		m.credentialRenewal.WithLabelValues(object, c.Name, c.Provider).Set(float64(c.Renewed.Unix()))
	}
}

// SetTargets replaces what is told of an ImagePullSecret's targets.
func (m *Metrics) SetTargets(object string, ready, failing, pending int) {
	m.targets.WithLabelValues(object, "ready").Set(float64(ready))
	m.targets.WithLabelValues(object, "failing").Set(float64(failing))
	m.targets.WithLabelValues(object, "pending").Set(float64(pending))
}

// Forget removes everything that is told of an ImagePullSecret.
func (m *Metrics) Forget(object string) {
	m.SetCredentials(object, nil)
	m.targets.DeletePartialMatch(prometheus.Labels{"imagepullsecret": object})
}

// Wrote counts one write of a target Secret.
func (m *Metrics) Wrote(operation, result string) { m.writes.WithLabelValues(operation, result).Inc() }

// ResultOf names what became of a write, for Wrote and Attached.
func ResultOf(err error) string {
	switch {
	case err == nil:
		return "success"
	case apierrors.IsConflict(err):
		return "conflict"
	case rights.Missing(err):
		return "forbidden"
	default:
		return "error"
	}
}

// Attached counts one write of a ServiceAccount's imagePullSecrets.
func (m *Metrics) Attached(result string) { m.attachments.WithLabelValues(result).Inc() }

// Propagated measures how long a new namespace waited for its Secret.
func (m *Metrics) Propagated(took time.Duration) { m.propagation.Observe(took.Seconds()) }

// Evicted counts one attempt to evict a Pod.
func (m *Metrics) Evicted(result string) { m.evictions.WithLabelValues(result).Inc() }
