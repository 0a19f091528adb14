// Package roots knows the certificate authorities that the operator trusts in
// its image: those of Mozilla, as a pinned Go module brings them, and not those
// of the machine that builds.
package roots

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Module is where the certificates are from.
const Module = "golang.org/x/crypto/x509roots/fallback"

// PEM returns the certificates as crypto/x509 reads them from a file, each
// under its subject and SHA-256 sum. It leaves out an authority that Mozilla
// trusts only for certificates from before a certain day: a file can't say that.
func PEM() ([]byte, error) {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		certificate, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			return nil, fmt.Errorf("parsing a root certificate: %w", err)
		}
		sum := sha256.Sum256(root.Certificate)
		fmt.Fprintf(&out, "# %s\n# SHA-256 %s\n", certificate.Subject, hex.EncodeToString(sum[:]))
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}
