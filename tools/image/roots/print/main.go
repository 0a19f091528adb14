// Command print writes the image's certificate authorities to the standard
// output, for the Dockerfile.
package main

import (
	"fmt"
	"os"

	"github.com/imagepullsecrets/operator/tools/image/roots"
)

func main() {
	certificates, err := roots.PEM()
	if err == nil {
		_, err = os.Stdout.Write(certificates)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}
