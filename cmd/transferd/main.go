// Command transferd is the daemon that moves drive images; `transferd sandbox` is an endpoint to try it on.
package main

import (
	"os"

	"github.com/transferd/transferd/internal/program"
)

func main() {
	root := daemonCommand(os.Stderr)
	root.AddCommand(sandboxCommand(os.Stderr))
	program.Main(root)
}
