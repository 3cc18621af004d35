package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/transfer"
)

func (a *app) apiCommand() *cobra.Command {
	var endpoint string
	var create bool
	cmd := &cobra.Command{
		Use:   "api [-c] PATH...",
		Short: "Make one call of the API",
		Long: `Make one call of the API, with the arguments of the vendor's script, and print the response. The
arguments, joined by slashes, are the path of the call. With -c the call sends standard input: keys
and values, one pair a line, or for drives UUID write OFFSET the bytes to write.

Calls that read are retried. A call that changes something is made again only if the endpoint has
not carried it out; if that is not known, the error says how to see it.

With -o json the response is an array: of objects, or of the values of a list.`,
		Example: `  transferctl api -e zrh drives list
  transferctl api -e zrh drives $drive info -o json
  printf 'name data\nsize 10G\n' | transferctl api -e zrh -c drives create`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().BoolVarP(&create, "create", "c", false, "send standard input")
	cmd.Flags().StringVarP(&endpoint, "endpoint", "e", "", "`name` of the endpoint, if the config has several")
	completeFlag(cmd, "endpoint", a.operands(a.endpointName))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, err := a.onlyEndpoint(endpoint, "add --endpoint with one of: ")
		if err != nil {
			return err
		}
		path := strings.Join(args, "/")
		var input []byte
		if create {
			if input, err = a.readInput(path); err != nil {
				return err
			}
		}
		c, err := a.wholeEndpoint(cmd.Context(), name)
		if err != nil {
			return err
		}
		response, err := a.call(cmd.Context(), c, strings.TrimSuffix(name, ":"), path, input)
		if err != nil {
			return err
		}
		return a.printResponse(path, response)
	}
	return cmd
}

// call makes a call, and retries it if it is a read, or if the endpoint has not carried it out.
func (a *app) call(ctx context.Context, c *api.Client, name, path string, input []byte) (response []byte, err error) {
	retryable := notCarriedOut
	if api.IsRead(path, input) {
		retryable = anyFailure
	}
	err = a.retryBriefly(ctx, retryable, func() (err error) {
		response, err = c.Call(ctx, path, input)
		return err
	})
	switch {
	case transfer.CodeOf(err) == transfer.CodeNotFound:
		err = &transfer.Error{
			Code: transfer.CodeNotFound, Hint: "check the path of the call, and the UUID in it", Err: err,
		}
	case !api.IsRead(path, input):
		look := "transferctl api -e " + name + " " + strings.Join(api.ReadAfter(path), " ")
		err = inDoubt(err, "the call may have been carried out all the same: before you repeat it, look with "+look)
	}
	return response, err
}

// printResponse prints a response as it is, or as JSON. The data of a drive is no JSON.
func (a *app) printResponse(path string, response []byte) error {
	if a.output == outputText || api.IsData(path) {
		var out io.Writer = a.stdout
		if isTerminal(a.stdout.Raw()) {
			out = cli.EscapeControls(out)
		}
		_, err := out.Write(response)
		return err
	}
	if values, ok := api.DecodeValues(path, response); ok {
		return printList(a, values, nil)
	}
	return printList(a, api.Decode(response), nil)
}

// readInput reads all of standard input, at most as much as a call may have.
func (a *app) readInput(path string) ([]byte, error) {
	limit, hint := api.MaxInput(path), "send keys and values, one pair a line"
	if api.IsData(path) {
		hint = "write a chunk at a time, each at its offset; transferctl upload writes an image"
	}
	input, err := io.ReadAll(io.LimitReader(a.stdin, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	if len(input) > limit {
		return nil, transfer.Errorf(transfer.CodeInvalid, hint, "standard input has more than %d bytes", limit)
	}
	return input, nil
}

// onlyEndpoint is name, or the only endpoint of the config if name is empty. hint, followed by the
// names, is for a config with several.
func (a *app) onlyEndpoint(name, hint string) (string, error) {
	names := a.cfg.EndpointNames()
	switch {
	case name != "":
		return name, nil
	case len(names) == 1:
		return names[0], nil
	case len(names) == 0:
		return "", noEndpoints()
	}
	return "", transfer.Errorf(transfer.CodeInvalid, hint+strings.Join(names, ", "),
		"the config has %d endpoints", len(names))
}
