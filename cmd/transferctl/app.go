package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/config"
	"github.com/transferd/transferd/internal/embedded"
	"github.com/transferd/transferd/internal/endpoints"
	"github.com/transferd/transferd/internal/image"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

// app is what all commands share.
type app struct {
	stdin      io.Reader
	stdout     *cli.Results
	stderr     io.Writer
	configPath string
	output     output
	cfg        *config.Config
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "transferctl",
		Short: "Move drive images: upload, download, clone and verify the drives of a cloud that speaks the back-end API 1.0",
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := a.output.check(); err != nil {
				return err
			}
			if cmd.HasParent() && cmd.Parent().Name() == "completion" {
				return nil // a shell runs it at its start, whatever the config is
			}
			if cmd.Name() == "doctor" {
				return nil // it reports what is wrong with the config
			}
			a.cfg, err = config.Load(a.configPath)
			return err
		},
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.PersistentFlags().StringVar(&a.configPath, "config", "", "config `file` (default $TRANSFERD_CONFIG, ~/.config/transferd/config.yaml, /etc/transferd/config.yaml)")
	root.PersistentFlags().StringVarP((*string)(&a.output), "output", "o", string(outputText), "`form` of results: text, json or jsonl")
	root.AddCommand(a.uploadCommand(), a.downloadCommand(), a.cloneCommand(), a.verifyCommand(),
		a.jobsCommand(), a.drivesCommand(), a.endpointsCommand(), a.apiCommand(), a.doctorCommand())
	return root
}

// group makes a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short}
	g.AddCommand(commands...)
	return g
}

// dial connects to the configured queue, or to the one that a transferd on this machine brought with it.
func (a *app) dial(ctx context.Context) (*queue.Client, error) {
	if a.cfg.Redis != "" {
		return queue.Dial(ctx, queue.Options{URL: a.cfg.Redis, CAFile: a.cfg.RedisCAFile, Warn: a.warn})
	}
	url, err := embedded.Find(a.queueFolder())
	switch {
	case transfer.CodeOf(err) == transfer.CodeForbidden:
		return nil, &transfer.Error{Op: "find the queue", Code: transfer.CodeForbidden, Err: err, Hint: hintOf(err)}
	case err != nil:
		return nil, &transfer.Error{
			Op: "find the queue", Code: transfer.CodeUnreachable, Err: fmt.Errorf("no transferd with a queue of its own runs on this machine (state folder %s)", a.cfg.State),
			Hint: "start transferd, set `redis:` in the config, or use --local",
		}
	}
	c, err := queue.Dial(ctx, queue.Options{
		URL: url, Hint: "start transferd again; it goes on with all jobs that it had", Warn: a.warn,
	})
	if errors.Is(err, fs.ErrPermission) {
		err = &transfer.Error{
			Code: transfer.CodeForbidden, Hint: "become the user who runs transferd (sudo -u)", Err: err,
		}
	}
	return c, err
}

func hintOf(err error) string {
	var e *transfer.Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}

func (a *app) queueFolder() string { return filepath.Join(a.cfg.State, "queue") }

// opener opens what this user may open, wherever it is; `roots:` is for jobs that others may enqueue.
func (a *app) opener() *endpoints.Opener {
	return endpoints.New(a.cfg.Endpoints, endpoints.Options{Roots: image.Roots{"/"}, In: a.stdin, Out: a.stdout.Raw()})
}
