package roots

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

func TestEveryAuthorityWithoutConditionsIsThere(t *testing.T) {
	file, err := PEM()
	if err != nil {
		t.Fatal(err)
	}
	want, conditional := 0, 0
	for root := range bundle.Roots() {
		there := bytes.Contains(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		if there != (root.Constraint == nil) {
			t.Errorf("a certificate is there: %v, has conditions: %v", there, root.Constraint != nil)
		}
		if root.Constraint == nil {
			want++
		} else {
			conditional++
		}
	}
	if want < 100 || conditional == 0 {
		t.Errorf("%d certificates without conditions and %d with: is this still Mozilla's list?", want, conditional)
	}
}

// As crypto/x509 reads /etc/ssl/certs/ca-certificates.crt.
func TestGoTrustsWhatIsInTheFile(t *testing.T) {
	file, err := PEM()
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(file) {
		t.Fatal("no certificate was read")
	}
	checked := 0
	for rest := file; ; checked++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		when := root.NotBefore.Add(time.Hour)
		if _, err := root.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: when, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
			t.Errorf("%s: %v", root.Subject, err)
		}
	}
	if checked < 100 {
		t.Errorf("%d certificates", checked)
	}
}
