package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/transferd/transferd/internal/transfer"
)

// explainUsage makes a command and its subcommands report a wrong command line in one line with an
// example, and the correct usage as the hint. It is called once, when the tree is complete.
func explainUsage(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(flagError)
	if check := cmd.Args; cmd.HasSubCommands() {
		runnable := cmd.Runnable()
		cmd.Args = func(cmd *cobra.Command, args []string) error { return groupArgs(cmd, args, runnable) }
		if !runnable {
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
	operands := strings.Fields(cmd.Use)[1:]
	required := requiredOperands(operands)
	if given < len(required) {
		return UsageError(cmd, "needs "+strings.Join(required, " and "))
	}
	takes, were := "no arguments", "arguments were"
	if len(operands) > 0 {
		takes = strings.Join(operands, " ")
	}
	if given == 1 {
		were = "argument was"
	}
	return UsageError(cmd, fmt.Sprintf("takes %s, and %d %s given", takes, given, were))
}

// UsageError is the error of a command line that lacks something or has too much, such as "needs
// ID": the text follows the command's name, an example follows the text, and the hint is the usage
// line.
func UsageError(cmd *cobra.Command, text string) error {
	return invalid("usage: "+cmd.UseLine(), "%s %s%s", commandName(cmd), text, forExample(cmd))
}

// forExample is the first line of the command's examples, without its comment; empty if it has
// none.
func forExample(cmd *cobra.Command) string {
	line, _, _ := strings.Cut(cmd.Example, "\n")
	line, _, _ = strings.Cut(line, " #")
	if line = strings.TrimSpace(line); line == "" {
		return ""
	}
	return ", for example: " + line
}

// requiredOperands is what a command line must have, without optional parts: ENDPOINT: for
// ENDPOINT:[UUID], ID for ID..., and nothing for [NAME...].
func requiredOperands(operands []string) (required []string) {
	for _, operand := range operands {
		word, _, _ := strings.Cut(operand, "[")
		if word = strings.TrimSuffix(word, "..."); word != "" {
			required = append(required, word)
		}
	}
	return required
}

// commandName is the command without the program's name; empty for the program itself.
func commandName(cmd *cobra.Command) string {
	return strings.TrimSpace(strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()))
}

// groupArgs checks the arguments of a command that has subcommands. runnable: the command can run
// without one. If it cannot, a missing subcommand is an error, except for the program itself, which
// prints its help.
func groupArgs(cmd *cobra.Command, args []string, runnable bool) error {
	hint := cmd.CommandPath() + " --help lists the commands"
	switch {
	case len(args) == 0 && runnable:
		return nil
	case len(args) > 0:
		similar := subcommands(cmd, func(name string) bool { return transfer.Resembles(name, args[0]) })
		name := strings.TrimSpace(commandName(cmd) + " " + args[0])
		return invalid(hint, "there is no command %q%s", name, didYouMean(similar, ""))
	case cmd.HasParent():
		all := subcommands(cmd, func(string) bool { return true })
		return invalid(hint, "%s needs one of its commands: %s%s",
			commandName(cmd), strings.Join(all, ", "), forExample(cmd))
	}
	return pflag.ErrHelp
}

// subcommands is the names of the subcommands for which wanted returns true.
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

// flagError explains an error of pflag.
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
	if owners := commandsWithFlag(cmd.Root(), name); len(owners) > 0 && cmd.HasSubCommands() {
		return invalid("write it after the command: "+cmd.Root().Name()+" "+owners[0]+" … --"+name,
			"--%s is a flag of %s", name, strings.Join(owners, ", "))
	}
	return invalid(hint, "%s has no flag %s%s", cmp.Or(commandName(cmd), "the program"), written,
		didYouMean(similarFlags(cmd, name), "--"))
}

// commandsWithFlag is the names of the commands that have the flag.
func commandsWithFlag(cmd *cobra.Command, flag string) (names []string) {
	if cmd.HasParent() && cmd.LocalNonPersistentFlags().Lookup(flag) != nil {
		names = append(names, commandName(cmd))
	}
	for _, sub := range cmd.Commands() {
		names = append(names, commandsWithFlag(sub, flag)...)
	}
	return names
}

// similarFlags is the names of the command's flags that resemble name.
func similarFlags(cmd *cobra.Command, name string) (names []string) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && transfer.Resembles(f.Name, name) {
			names = append(names, f.Name)
		}
	})
	return names
}

// forms describes the values of pflag's own types.
var forms = map[string]struct{ noun, hint string }{
	"bool":   {"true or false", "leave the value out, or write =true or =false"},
	"int":    {"a whole number", "use digits only"},
	"uint64": {"a whole number", "use digits only"},
}

// badValue explains what a flag accepts. Errors of the project's own flag types have hints of their
// own.
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
