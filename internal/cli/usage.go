package cli

import (
	"cmp"
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/transferd/transferd/internal/transfer"
)

// explainUsage makes a command and its subcommands report a wrong command line in one line, with
// the correct usage as the hint. It is called once, when the tree is complete.
func explainUsage(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(flagError)
	if check := cmd.Args; cmd.HasSubCommands() {
		alone := cmd.Runnable()
		cmd.Args = func(cmd *cobra.Command, args []string) error { return groupArgs(cmd, args, alone) }
		if !alone {
			cmd.RunE = func(*cobra.Command, []string) error { return nil } // groupArgs refuses every command line
		}
	} else if check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if check(cmd, args) == nil {
				return nil
			}
			return wrongArguments(cmd, len(args))
		}
	}
	for _, sub := range cmd.Commands() {
		explainUsage(sub)
	}
}

func invalid(hint, format string, args ...any) error {
	return transfer.Errorf(transfer.CodeInvalid, hint, format, args...)
}

// wrongArguments does not repeat the arguments: one may be a URL with a password.
func wrongArguments(cmd *cobra.Command, given int) error {
	_, operands, _ := strings.Cut(cmd.Use, " ")
	takes, noun := "takes "+operands, "arguments were given"
	if operands == "" {
		takes = "takes no arguments"
	}
	if given == 1 {
		noun = "argument was given"
	}
	return invalid("usage: "+cmd.UseLine(), "%s %s, and %d %s", commandName(cmd), takes, given, noun)
}

// commandName is the command without the program's name; empty for the program itself.
func commandName(cmd *cobra.Command) string {
	return strings.TrimSpace(strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()))
}

// groupArgs checks the arguments of a command that has subcommands. alone: the command can run
// without one. If it cannot, a missing subcommand is an error; for the program itself it prints the
// help.
func groupArgs(cmd *cobra.Command, args []string, alone bool) error {
	hint := cmd.CommandPath() + " --help lists the commands"
	switch {
	case len(args) == 0 && alone:
		return nil
	case len(args) > 0:
		meant := subcommands(cmd, func(name string) bool { return transfer.Resembles(name, args[0]) })
		name := strings.TrimSpace(commandName(cmd) + " " + args[0])
		return invalid(hint, "there is no command %q%s", name, didYouMean(meant, ""))
	case cmd.HasParent():
		all := subcommands(cmd, func(string) bool { return true })
		return invalid(hint, "%s needs one of its commands: %s", commandName(cmd), strings.Join(all, ", "))
	}
	return pflag.ErrHelp
}

// subcommands is the names of the command's subcommands for which wanted returns true.
func subcommands(cmd *cobra.Command, wanted func(name string) bool) (names []string) {
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && wanted(sub.Name()) {
			names = append(names, sub.Name())
		}
	}
	return names
}

// didYouMean is a suggestion of similar names; empty if there are none.
func didYouMean(names []string, prefix string) string {
	if len(names) == 0 {
		return ""
	}
	return "; did you mean " + prefix + strings.Join(names, " or "+prefix) + "?"
}

// flagError says what is wrong with a flag.
func flagError(cmd *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		missing *pflag.ValueRequiredError
		bad     *pflag.InvalidValueError
	)
	hint := cmd.CommandPath() + " --help lists the flags"
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return err
	case errors.As(err, &unknown):
		return unknownFlag(cmd, unknown, hint)
	case errors.As(err, &missing):
		return invalid(hint, "--%s needs a value", missing.GetFlag().Name)
	case errors.As(err, &bad):
		return badValue(bad.GetFlag(), bad.GetValue(), bad.Unwrap(), hint)
	}
	return invalid(hint, "%w", err)
}

func unknownFlag(cmd *cobra.Command, e *pflag.NotExistError, hint string) error {
	name, written := e.GetSpecifiedName(), "--"+e.GetSpecifiedName()
	if short := e.GetSpecifiedShortnames(); short != "" {
		name, written = short, "-"+short
	}
	if users := usersOf(cmd.Root(), name); len(users) > 0 && cmd.HasSubCommands() {
		return invalid("write it after the command: "+cmd.Root().Name()+" "+users[0]+" … --"+name,
			"--%s is a flag of %s", name, strings.Join(users, ", "))
	}
	return invalid(hint, "%s has no flag %s%s", cmp.Or(commandName(cmd), "the program"), written,
		didYouMean(near(cmd, name), "--"))
}

// usersOf is the commands that have a flag of that name.
func usersOf(cmd *cobra.Command, name string) (users []string) {
	if cmd.HasParent() && cmd.LocalNonPersistentFlags().Lookup(name) != nil {
		users = append(users, commandName(cmd))
	}
	for _, sub := range cmd.Commands() {
		users = append(users, usersOf(sub, name)...)
	}
	return users
}

// near is the names of the command's flags that resemble name.
func near(cmd *cobra.Command, name string) (names []string) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && transfer.Resembles(f.Name, name) {
			names = append(names, f.Name)
		}
	})
	return names
}

// forms is what the values of a type of flag look like.
var forms = map[string]struct{ noun, hint string }{
	"bool":   {"true or false", "leave the value out, or write =true or =false"},
	"int":    {"a whole number", "use digits alone"},
	"uint64": {"a whole number", "use digits alone"},
}

// badValue explains what a flag of one of cobra's own types accepts. The project's types have
// errors with hints of their own.
func badValue(f *pflag.Flag, value string, cause error, hint string) error {
	if form, ok := forms[f.Value.Type()]; ok {
		return invalid(form.hint, "--%s: %q is not %s", f.Name, value, form.noun)
	}
	var e *transfer.Error
	if errors.As(cause, &e) {
		return invalid(cmp.Or(e.Hint, hint), "--%s: %w", f.Name, cause)
	}
	return invalid(hint, "--%s: %q: %w", f.Name, value, cause)
}
