// Command transferctl is what people and scripts type to move drive images.
//
// Standard output has results only. Progress, errors and hints are on standard error. The exit
// status follows from the error's code by the table in internal/transfer.
package main

import (
	"io"
	"log"
	"os"

	"github.com/transferd/transferd/internal/cli"
)

func main() {
	log.SetOutput(io.Discard) // libraries log details there; what users need is in the errors
	a := &app{stdin: os.Stdin, stdout: cli.NewResults(os.Stdout), stderr: os.Stderr}
	cli.Main(a.rootCommand(), nil)
}
