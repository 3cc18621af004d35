// Command transferd is the daemon that moves drive images; `transferd sandbox` is an endpoint to try it on.
package main

import (
	"os"

	"github.com/transferd/transferd/internal/embedded"
	"github.com/transferd/transferd/internal/program"
)

func main() {
	embedded.KeepIfAsked()
	signals := new(program.Signals)
	root := daemonCommand(os.Stderr, signals)
	root.AddCommand(sandboxCommand(os.Stderr), guardCommand())
	program.Main(root, signals)
}
