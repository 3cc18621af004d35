package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/transfer"
)

// addCommonCommands adds the commands that each program with subcommands has: help and completion.
func addCommonCommands(root *cobra.Command) {
	if !root.HasSubCommands() {
		return
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(completionCommand(root))
	root.InitDefaultHelpCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "help" {
			cmd.Short, cmd.Long = "Print the help of a command", ""
			cmd.Example = "  " + root.Name() + " help " + root.Commands()[0].Name()
		}
	}
}

// completionCommand replaces cobra's, which is a command for each shell.
func completionCommand(root *cobra.Command) *cobra.Command {
	shells := map[string]func(cmd *cobra.Command) error{
		"bash":       func(cmd *cobra.Command) error { return root.GenBashCompletionV2(cmd.OutOrStdout(), true) },
		"fish":       func(cmd *cobra.Command) error { return root.GenFishCompletion(cmd.OutOrStdout(), true) },
		"powershell": func(cmd *cobra.Command) error { return root.GenPowerShellCompletionWithDesc(cmd.OutOrStdout()) },
		"zsh":        func(cmd *cobra.Command) error { return root.GenZshCompletion(cmd.OutOrStdout()) },
	}
	return &cobra.Command{
		Use:   "completion bash|fish|powershell|zsh",
		Short: "Print the script that completes commands and flags in a shell",
		Example: strings.ReplaceAll(`  PROGRAM completion bash >PROGRAM.bash   # load it with: . ./PROGRAM.bash
  PROGRAM completion zsh >_PROGRAM         # in a folder of $fpath`, "PROGRAM", root.Name()),
		Args:                  cobra.ExactArgs(1),
		ValidArgs:             []string{"bash", "fish", "powershell", "zsh"},
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			generate, ok := shells[args[0]]
			if !ok {
				return transfer.Errorf(transfer.CodeInvalid, "use bash, fish, powershell or zsh",
					"completion: %q is not a shell", args[0])
			}
			return generate(cmd)
		},
	}
}
