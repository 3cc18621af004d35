package main

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/transfer"
)

// interactive reports whether a user can answer a question.
func (a *app) interactive() bool { return isTerminal(a.stdin) && isTerminal(a.stderr) }

// confirm asks on the terminal, and fails with CodeCanceled unless the answer is yes.
func (a *app) confirm(question string) error {
	fmt.Fprintf(cli.EscapeControls(a.stderr), "%s [y/N] ", question)
	answer, err := bufio.NewReader(a.stdin).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	if err != nil {
		fmt.Fprintln(a.stderr)
	}
	return transfer.Errorf(transfer.CodeCanceled, "with --yes the command does not ask",
		"not confirmed, nothing was done")
}
