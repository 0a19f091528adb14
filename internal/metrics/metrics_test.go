package metrics

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/imagepullsecrets/operator/internal/version"
)

func TestAnObjectsMetricsGoWithIt(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := New(registry)
	m.SetTargets("a", 1, 2, 3)
	m.SetTargets("b", 0, 0, 0)
	m.SetCredentials("a", []Credential{
		{Name: "ns/x", Provider: "ecr", ExpiresAt: time.Unix(100, 0), Renewed: time.Unix(50, 0)},
		{Name: "ns/y", Provider: "ecr", ExpiresAt: time.Unix(200, 0), Renewed: time.Unix(60, 0)},
	})
	m.SetCredentials("a", []Credential{{Name: "ns/y", Provider: "ecr", ExpiresAt: time.Unix(300, 0), Renewed: time.Unix(70, 0)}})
	want := `
# HELP imagepullsecret_credential_expiry_timestamp_seconds When the login in use expires, as a Unix time. Absent for logins that do not expire.
# TYPE imagepullsecret_credential_expiry_timestamp_seconds gauge
imagepullsecret_credential_expiry_timestamp_seconds{credential="ns/y",imagepullsecret="a",provider="ecr"} 300
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "imagepullsecret_credential_expiry_timestamp_seconds"); err != nil {
		t.Error(err)
	}
	m.Forget("a")
	if got := testutil.CollectAndCount(m.targets); got != 3 {
		t.Errorf("%d series of targets, want those of b", got)
	}
	if got := testutil.CollectAndCount(m.credentialRenewal); got != 0 {
		t.Errorf("%d series of credentials", got)
	}
}

// A label that took its values from namespaces would grow with the cluster.
func TestNoLabelGrowsWithNamespaces(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := New(registry)
	m.SetTargets("a", 1, 0, 0)
	m.SetCredentials("a", []Credential{{Name: "ns/x", Provider: "ecr"}})
	m.ExchangeDone("ecr", "success", time.Second)
	m.Wrote("apply", "success")
	m.Attached("success")
	m.Propagated(time.Second)
	m.LeaseNotSaved()
	m.Evicted("success")
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{
		"imagepullsecret": true, "credential": true, "provider": true, "result": true, "operation": true, "state": true,
		"version": true, "commit": true, "date": true,
	}
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), prefix+"_") {
			t.Errorf("%s lacks the prefix", family.GetName())
		}
		for _, label := range family.GetMetric()[0].GetLabel() {
			if !allowed[label.GetName()] {
				t.Errorf("%s has the label %s", family.GetName(), label.GetName())
			}
		}
	}
	if len(families) != 11 {
		t.Errorf("%d metrics, want 11: each is to be checked here", len(families))
	}
}

func TestTheBuildIsToldByLabels(t *testing.T) {
	registry := prometheus.NewRegistry()
	New(registry)
	want := fmt.Sprintf(`
# HELP imagepullsecret_build_info Always 1; the labels tell the version, the commit that it was built from and the commit's date.
# TYPE imagepullsecret_build_info gauge
imagepullsecret_build_info{commit=%q,date=%q,version=%q} 1
`, version.Commit(), version.Date(), version.Version())
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "imagepullsecret_build_info"); err != nil {
		t.Error(err)
	}
}
