package main

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/config"
	"github.com/transferd/transferd/internal/panics"
)

// operand completes one operand of a command. text is what the user has typed of it.
type operand func(ctx context.Context, text string) ([]cobra.Completion, cobra.ShellCompDirective)

// operands completes the operands of a command in their order; the last one may be repeated if the
// command takes more.
func (a *app) operands(each ...operand) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
		i := len(args)
		if more := append(slices.Clone(args), text); i >= len(each) && (cmd.Args == nil || cmd.Args(cmd, more) == nil) {
			i = len(each) - 1
		}
		if i >= len(each) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return each[i](cmd.Context(), text)
	}
}

// completeValues completes a flag that has few values.
func completeValues(cmd *cobra.Command, flag string, values ...string) {
	completeFlag(cmd, flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// completeFlag completes the value of a flag.
func completeFlag(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the flag does not exist
	}
}

// fileOperand leaves the completion of paths to the shell.
func fileOperand(context.Context, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

func readerOperand(context.Context, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return []cobra.Completion{readersAll, readersNone}, cobra.ShellCompDirectiveNoFileComp
}

// endpointOperand completes ENDPOINT:.
func (a *app) endpointOperand(context.Context, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.endpointNames(":"), cobra.ShellCompDirectiveNoFileComp
}

// endpointName completes the name of an endpoint without a colon.
func (a *app) endpointName(context.Context, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.endpointNames(""), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) endpointNames(suffix string) (names []cobra.Completion) {
	if a.loadConfig() != nil {
		return nil
	}
	for _, name := range a.cfg.EndpointNames() {
		names = append(names, cobra.CompletionWithDesc(name+suffix, cli.OneLine(a.cfg.Endpoints[name].URL)))
	}
	return names
}

// driveOperand completes the address of a drive.
func (a *app) driveOperand(ctx context.Context, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.addresses(ctx, &driveObjects, text)
}

// serverOperand completes the address of a server.
func (a *app) serverOperand(ctx context.Context, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.addresses(ctx, &serverObjects, text)
}

func (a *app) addresses(
	ctx context.Context, k *objectKind, text string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	endpoint, _, found := strings.Cut(text, ":")
	if !found {
		return a.endpointNames(":"), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	if a.loadConfig() != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return addressesOf(endpoint, a.objects(ctx, k, endpoint), text), cobra.ShellCompDirectiveNoFileComp
}

// plainName matches names that no shell interprets. Others may be chosen by UUID: a completion must
// not put into a command line what the shell would run, and anyone may have named a drive.
var plainName = regexp.MustCompile(`^[\pL\pN_.@%+=,/-]+$`)

// addressesOf is the addresses that begin with text: by name where the name is unique, and by UUID.
func addressesOf(endpoint string, objects []object, text string) (found []cobra.Completion) {
	count := make(map[string]int)
	for _, o := range objects {
		count[o.Name]++
	}
	add := func(id, description string) {
		if address := endpoint + ":" + id; strings.HasPrefix(address, text) {
			found = append(found, cobra.CompletionWithDesc(address, cli.OneLine(description)))
		}
	}
	for _, o := range objects {
		if count[o.Name] == 1 && plainName.MatchString(o.Name) && !api.ValidUUID(strings.ToLower(o.Name)) {
			add(o.Name, o.UUID+", "+o.Detail)
		}
	}
	for _, o := range objects {
		if api.ValidUUID(o.UUID) {
			add(o.UUID, o.Name+", "+o.Detail)
		}
	}
	return found
}

// loadConfig reads the config for a completion: commands have read it before they run.
func (a *app) loadConfig() (err error) {
	if a.cfg == nil {
		a.cfg, err = config.Load(a.configPath)
	}
	return err
}

const (
	// completionTime bounds the call that a completion makes, so that the user never waits longer
	// than 300 ms for all of it.
	completionTime = 200 * time.Millisecond
	// freshAge is how long a completion uses what an earlier one, or a command, has listed.
	freshAge = 30 * time.Second
	// staleAge is how long it does so if the endpoint does not respond in time.
	staleAge = 10 * time.Minute
)

// objects is the objects of an endpoint for a completion. It never takes much longer than
// completionTime: then, or after an error, it returns what was listed before, or nothing.
func (a *app) objects(ctx context.Context, k *objectKind, endpoint string) []object {
	e, ok := a.cfg.Endpoints[endpoint]
	if !ok {
		return nil
	}
	stored, age := a.stored(k, endpoint)
	// A password_command may ask for a passphrase. No command of the user's runs for a completion.
	if age < freshAge || e.PasswordCommand != "" {
		return stored
	}
	all, ok := within(ctx, completionTime, func(ctx context.Context) ([]object, error) {
		c, err := a.opener().Client(ctx, endpoint)
		if err != nil {
			return nil, err
		}
		return k.list(ctx, c)
	})
	if !ok {
		return stored
	}
	a.remember(k, endpoint, all)
	return all
}

// within returns what call returns, and false if it fails or takes longer than d. Then call may
// still run when within returns: it may be in a system call that no context ends, such as opening a
// file on a server that is down. So within is only for a process that ends soon.
func within[T any](ctx context.Context, d time.Duration, call func(context.Context) (T, error)) (value T, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	type result struct {
		value T
		err   error
	}
	results := make(chan result, 1)
	panics.Go(func() {
		v, err := call(ctx)
		results <- result{v, err}
	}, func(err error) { results <- result{err: err} })
	select {
	case r := <-results:
		return r.value, r.err == nil
	case <-ctx.Done():
		return value, false
	}
}
