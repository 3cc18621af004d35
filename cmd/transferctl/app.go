package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/config"
	"github.com/transferd/transferd/internal/embedded"
	"github.com/transferd/transferd/internal/endpoints"
	"github.com/transferd/transferd/internal/image"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

// app has what all commands share.
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
		Short: "Upload, download, clone and verify drive images",
		Long: `Upload, download, clone and verify the drives of clouds with the CloudSigma back-end API 1.0.

Commands enqueue jobs, which a transferd runs; with --local they run a job themselves. In the
examples, zrh and lvs are endpoints of the config, $drive and $server are the UUIDs of a drive
and a server on zrh, and $job is the ID of a job.`,
		Example: `  transferctl endpoints check                            # test the config
  transferctl upload disk.img zrh: --wait                # prints the UUID of the new drive
  transferctl download zrh:$drive copy.img --wait
  transferctl jobs list`,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := a.output.check(cmd); err != nil {
				return err
			}
			withoutConfig := []string{"completion", "doctor", "help", "version", cobra.ShellCompRequestCmd}
			if slices.Contains(withoutConfig, cmd.Name()) {
				return nil // these work with a broken config, too; doctor reports what is wrong with it
			}
			a.cfg, err = config.Load(a.configPath)
			return err
		},
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.PersistentFlags().StringVar(&a.configPath, "config", "",
		"config `file` (default $TRANSFERD_CONFIG, ~/.config/transferd/config.yaml, /etc/transferd/config.yaml)")
	root.PersistentFlags().StringVarP((*string)(&a.output), "output", "o", string(outputText),
		"`format` of results: text, json or jsonl")
	completeValues(root, "output", string(outputText), string(outputJSON), string(outputJSONL))
	cli.AddVersionFlag(root.Name(), root)
	root.AddCommand(a.uploadCommand(), a.downloadCommand(), a.cloneCommand(), a.verifyCommand(), a.migrateCommand(),
		a.batchCommand(), a.jobsCommand(), a.drivesCommand(), a.serversCommand(), a.accountCommand(),
		a.endpointsCommand(),
		a.apiCommand(), a.doctorCommand(), a.versionCommand())
	return root
}

// group makes a command that only holds others.
func group(use, short, example string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, Example: example}
	g.AddCommand(commands...)
	return g
}

// dialOnce is dial without waiting for a start.
func (a *app) dialOnce(ctx context.Context) (*queue.Client, error) {
	if a.cfg.Redis != "" {
		return queue.Dial(ctx, queue.Options{URL: a.cfg.Redis, CAFile: a.cfg.RedisCAFile, Warn: a.warn})
	}
	url, err := embedded.Find(a.queueFolder())
	switch {
	case transfer.CodeOf(err) == transfer.CodeForbidden:
		return nil, &transfer.Error{Op: "find the queue", Code: transfer.CodeForbidden, Err: err, Hint: hintOf(err)}
	case err != nil:
		return nil, &transfer.Error{
			Op: "find the queue", Code: transfer.CodeUnreachable,
			Err:  fmt.Errorf("no transferd with an embedded queue runs on this host (state folder %s)", a.cfg.State),
			Hint: "start transferd, set `redis:` in the config, or use --local",
		}
	}
	c, err := queue.Dial(ctx, queue.Options{
		URL: url, Hint: "start transferd again; it continues all its jobs", Warn: a.warn,
	})
	if errors.Is(err, fs.ErrPermission) {
		err = &transfer.Error{
			Code: transfer.CodeForbidden, Hint: "run the command as the user who runs transferd (sudo -u)", Err: err,
		}
	}
	return c, err
}

// hintOf is the hint of a transfer.Error; empty if err is another error.
func hintOf(err error) string {
	var e *transfer.Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}

// queueFolder is where the embedded queue keeps its state.
func (a *app) queueFolder() string { return filepath.Join(a.cfg.State, "queue") }

// opener opens all files that this user may open: the roots of the config are for jobs that others
// may have enqueued.
func (a *app) opener() *endpoints.Opener { return a.openerWith(nil) }

// openerWith is opener with more headers for URLs than those of the config.
func (a *app) openerWith(headers []image.Credential) *endpoints.Opener {
	return endpoints.New(a.cfg.Endpoints, endpoints.Options{
		Roots: image.Roots{"/"}, In: a.stdin, Out: a.stdout.Raw(), Spool: a.cfg.SpoolFolder(),
		URLCredentials: append(endpoints.URLCredentials(a.cfg.URLCredentials), headers...),
	})
}
