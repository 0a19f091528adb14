// Command docgen writes the pages of docs that follow from the code: the
// flags, the metrics and the API.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// pages are what is written, by file name.
var pages = map[string]func(io.Writer) error{
	"flags.md":   writeFlags,
	"metrics.md": writeMetrics,
	"api.md":     writeAPI,
}

func main() {
	// Defaults that come from the environment are not this machine's to tell.
	for _, name := range []string{"POD_NAMESPACE", "LOG_LEVEL", "LOG_FORMAT"} {
		_ = os.Unsetenv(name)
	}
	for name, write := range pages {
		if err := writePage(filepath.Join("docs", name), write); err != nil {
			fmt.Fprintf(os.Stderr, "docgen: %s: %v\n", name, err)
			os.Exit(1)
		}
	}
}

func writePage(path string, write func(io.Writer) error) error {
	var page bytes.Buffer
	page.WriteString("<!-- Written by `make generate`; change the code instead. -->\n")
	if err := write(&page); err != nil {
		return err
	}
	return os.WriteFile(path, page.Bytes(), 0o600)
}
