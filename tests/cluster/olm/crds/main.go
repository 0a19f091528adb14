// Command crds writes the CustomResourceDefinitions of OLM, as YAML documents,
// to its output.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/operator-framework/api/crds"
)

func main() {
	for _, name := range crds.AssetNames() {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		content, err := crds.Asset(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, "crds:", err)
			os.Exit(1)
		}
		fmt.Printf("---\n%s\n", content)
	}
}
