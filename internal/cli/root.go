// Package cli is the command line: one file for each subcommand.
package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/imagepullsecrets/operator/internal/version"
)

// Execute runs the command line and returns the process's exit code: 0 if the
// command did its work or was asked to stop by SIGTERM or SIGINT, 1 otherwise.
func Execute(args []string) int {
	root := NewRoot(os.Stdout, os.Stderr)
	root.SetArgs(args)
	if err := root.ExecuteContext(ctrl.SetupSignalHandler()); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		return 1
	}
	return 0
}

// NewRoot returns the whole command line, which prints to out and errOut.
func NewRoot(out, errOut io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "imagepullsecret-operator",
		Short: "Keeps registry credentials in every namespace that needs them",
		Long: "imagepullsecret-operator keeps one Secret with registry logins in every namespace that an\n" +
			"ImagePullSecret selects, and renews short-lived logins before they expire.",
		Version:       version.Describe(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(out)
	root.SetErr(errOut)
	root.AddCommand(newManagerCommand(), newPatcherCommand(), newRefresherCommand(),
		newCheckCommand(), newCleanupCommand(), newVersionCommand())
	return root
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, and the commit that it was built from",
		Args:  cobra.NoArgs,
		Run: func(command *cobra.Command, _ []string) {
			fmt.Fprintln(command.OutOrStdout(), version.Describe())
		},
	}
}
