// Command transferd is the daemon that transfers drive images; `transferd sandbox` is an endpoint
// for trials and tests.
package main

import (
	"os"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/embedded"
)

func main() {
	embedded.KeepIfAsked()
	signals := new(cli.Signals)
	root := daemonCommand(os.Stderr, signals)
	sandbox := sandboxCommand(os.Stderr)
	cli.AddVersionFlag(root.Name(), root, sandbox)
	root.AddCommand(sandbox, guardCommand())
	cli.Main(root, signals)
}
