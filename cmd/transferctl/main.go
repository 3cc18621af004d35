// Command transferctl is what people and scripts type to move drive images.
//
// stdout carries results only. Progress, errors and hints go to stderr; the exit status is the error's code by the one
// table in internal/transfer.
package main

import (
	"io"
	"log"
	"os"

	"github.com/transferd/transferd/internal/cli"
)

func main() {
	log.SetOutput(io.Discard) // libraries write to it what is no user's business; failures are errors
	a := &app{stdin: os.Stdin, stdout: cli.NewResults(os.Stdout), stderr: os.Stderr}
	cli.Main(a.rootCommand(), nil)
}
