package cli

import (
	"context"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// tree is a program with a command, a group of commands and flags.
func tree() *cobra.Command {
	root := &cobra.Command{Use: "ctl"}
	idle := func(*cobra.Command, []string) {}
	upload := &cobra.Command{Use: "upload SOURCE TARGET", Args: cobra.ExactArgs(2), Run: idle}
	upload.Flags().Bool("wait", false, "")
	upload.Flags().Int("limit", 0, "")
	jobs := &cobra.Command{Use: "jobs"}
	jobs.AddCommand(&cobra.Command{Use: "list", Args: cobra.NoArgs, Run: idle})
	root.AddCommand(upload, jobs)
	return root
}

// TestUsageErrorsHaveAHint: an error says in one line what is wrong with a command line, and its
// hint how to write it.
func TestUsageErrorsHaveAHint(t *testing.T) {
	for line, want := range map[string]string{
		"upload a": "ctl: upload takes SOURCE TARGET, and 1 argument was given\n" +
			"hint: usage: ctl upload SOURCE TARGET [flags]\n",
		"upload": "ctl: upload takes SOURCE TARGET, and 0 arguments were given\n" +
			"hint: usage: ctl upload SOURCE TARGET [flags]\n",
		"jobs list x": "ctl: jobs list takes no arguments, and 1 argument was given\n" +
			"hint: usage: ctl jobs list [flags]\n",
		"uplaod a b": "ctl: there is no command \"uplaod\"; did you mean upload?\n" +
			"hint: ctl --help lists the commands\n",
		"jobs lst": "ctl: there is no command \"jobs lst\"; did you mean list?\n" +
			"hint: ctl jobs --help lists the commands\n",
		"jobs": "ctl: jobs needs one of its commands: list\n" +
			"hint: ctl jobs --help lists the commands\n",
		"xyzzy": "ctl: there is no command \"xyzzy\"\n" +
			"hint: ctl --help lists the commands\n",
		"upload a b --wiat": "ctl: upload has no flag --wiat; did you mean --wait?\n" +
			"hint: ctl upload --help lists the flags\n",
		"upload a b -wait": "ctl: upload has no flag -wait; did you mean --wait?\n" +
			"hint: ctl upload --help lists the flags\n",
		"--wait upload a b": "ctl: --wait is a flag of upload\n" +
			"hint: write it after the command: ctl upload … --wait\n",
		"upload a b --limit": "ctl: --limit needs a value\n" +
			"hint: ctl upload --help lists the flags\n",
		"upload a b --limit x": "ctl: --limit: \"x\" is not a whole number\n" +
			"hint: use digits alone\n",
		"upload a b --wait=maybe": "ctl: --wait: \"maybe\" is not true or false\n" +
			"hint: leave the value out, or write =true or =false\n",
		"upload a b --no-such-one": "ctl: upload has no flag --no-such-one\n" +
			"hint: ctl upload --help lists the flags\n",
	} {
		root := tree()
		var stderr strings.Builder
		root.SetErr(&stderr)
		root.SetOut(&stderr)
		root.SetArgs(strings.Fields(line))
		if status := run(context.Background(), root); status != 2 || stderr.String() != want {
			t.Errorf("%s: exit status %d, and\n%swant\n%s", line, status, stderr.String(), want)
		}
	}
}

// TestProgramWithoutCommandRunsOrHelps: without a command, a program runs its own function, or
// shows its help if it has none.
func TestProgramWithoutCommandRunsOrHelps(t *testing.T) {
	root := tree()
	var out strings.Builder
	root.SetOut(&out)
	root.SetArgs([]string{})
	if status := run(context.Background(), root); status != 0 || !strings.Contains(out.String(), "upload") {
		t.Errorf("exit status %d, and %s", status, out.String())
	}
	ran := false
	root = tree()
	root.Args, root.Run = cobra.NoArgs, func(*cobra.Command, []string) { ran = true }
	root.SetOut(&out)
	root.SetArgs([]string{})
	if status := run(context.Background(), root); status != 0 || !ran {
		t.Errorf("exit status %d, and the program ran: %v", status, ran)
	}
}
