package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/transfer"
)

// maxKeys is the most bytes of keys that are read from standard input. Endpoints accept less.
const maxKeys = 1 << 20

func (a *app) apiCommand() *cobra.Command {
	var endpoint string
	var create bool
	cmd := &cobra.Command{
		Use:   "api [-c] PATH...",
		Short: "Make one call of the API",
		Long: `Make one call of the API, with the arguments of the vendor's script, and print the response. The
arguments, joined by slashes, are the path of the call. With -c the call sends keys and values
from standard input, one pair a line.`,
		Example: `  transferctl api -e zrh drives list
  transferctl api -e zrh drives $drive info
  printf 'name data\nsize 10G\n' | transferctl api -e zrh -c drives create`,
		Args: cobra.MinimumNArgs(1),
	}
	cmd.Flags().BoolVarP(&create, "create", "c", false, "send keys and values from standard input")
	cmd.Flags().StringVarP(&endpoint, "endpoint", "e", "", "`name` of the endpoint, if the config has several")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, err := a.onlyEndpoint(endpoint)
		if err != nil {
			return err
		}
		var keys []byte
		if create {
			if keys, err = a.readKeys(); err != nil {
				return err
			}
		}
		c, _, err := a.endpoint(cmd.Context(), name)
		if err != nil {
			return err
		}
		path, retryable := strings.Join(args, "/"), notCarriedOut
		if api.IsRead(path, keys) {
			retryable = anyFailure
		}
		var response []byte
		err = a.retry(cmd.Context(), retryable, func() (err error) {
			response, err = c.Call(cmd.Context(), path, keys)
			return err
		})
		if transfer.CodeOf(err) == transfer.CodeNotFound {
			err = &transfer.Error{
				Code: transfer.CodeNotFound, Hint: "check the path of the call, and the UUID in it", Err: err,
			}
		}
		if err != nil {
			return err
		}
		var out io.Writer = a.stdout
		if isTerminal(a.stdout.Raw()) {
			out = cli.EscapeControls(out)
		}
		_, err = out.Write(response)
		return err
	}
	return cmd
}

// readKeys reads all of standard input.
func (a *app) readKeys() ([]byte, error) {
	keys, err := io.ReadAll(io.LimitReader(a.stdin, maxKeys+1))
	if err != nil {
		return nil, fmt.Errorf("read keys from standard input: %w", err)
	}
	if len(keys) > maxKeys {
		return nil, transfer.Errorf(transfer.CodeInvalid, "send keys and values, one pair a line",
			"standard input has more than %d bytes", maxKeys)
	}
	return keys, nil
}

// onlyEndpoint is name, or the only endpoint of the config if name is empty.
func (a *app) onlyEndpoint(name string) (string, error) {
	names := a.cfg.EndpointNames()
	switch {
	case name != "":
		return name, nil
	case len(names) == 1:
		return names[0], nil
	case len(names) == 0:
		return "", noEndpoints()
	}
	return "", transfer.Errorf(transfer.CodeInvalid, "add --endpoint with one of: "+strings.Join(names, ", "),
		"the config has %d endpoints", len(names))
}
