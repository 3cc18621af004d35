package main

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/transfer"
)

// interactive reports whether somebody can be asked.
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
	return transfer.Errorf(transfer.CodeCanceled, "--yes does not ask", "nothing was done")
}
