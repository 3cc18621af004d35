package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/cli"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print version, commit, date and Go version of this program",
		Example: `  transferctl version
  transferctl version -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := cli.BuildVersion()
			return a.print(v, func(w io.Writer) { fmt.Fprintln(w, cmd.Root().Name(), v) })
		},
	}
}
