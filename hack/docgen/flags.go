package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/imagepullsecrets/operator/internal/cli"
)

// writeFlags lists the flags of every subcommand.
func writeFlags(out io.Writer) error {
	root := cli.NewRoot(io.Discard, io.Discard)
	fmt.Fprintf(out, "# Command line\n\n`%s`: %s.\n", root.Use, strings.ToLower(root.Short[:1])+root.Short[1:])
	for _, command := range root.Commands() {
		fmt.Fprintf(out, "\n## %s %s\n\n%s.\n", root.Use, command.Name(), command.Short)
		if !command.LocalFlags().HasAvailableFlags() {
			continue
		}
		fmt.Fprint(out, "\n| flag | default | meaning |\n| --- | --- | --- |\n")
		command.LocalFlags().VisitAll(func(flag *pflag.Flag) {
			if flag.Name != "help" && !flag.Hidden {
				fmt.Fprintf(out, "| `--%s` | %s | %s |\n", flag.Name, quoted(flag.DefValue), flag.Usage)
			}
		})
	}
	return nil
}

// quoted returns a default value as code, and nothing for an empty one.
func quoted(value string) string {
	if value == "" || value == "[]" {
		return ""
	}
	return "`" + value + "`"
}
