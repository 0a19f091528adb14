// Command imagepullsecret-operator keeps registry credentials where Pods need
// them. `imagepullsecret-operator help` lists what it can do.
package main

import (
	"os"

	"github.com/imagepullsecrets/operator/internal/cli"
)

func main() { os.Exit(cli.Execute(os.Args[1:])) }
