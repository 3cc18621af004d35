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
	upload := &cobra.Command{
		Use: "upload SOURCE ENDPOINT:[UUID]", Args: cobra.ExactArgs(2), Run: idle,
		Example: "  ctl upload disk.img zrh:   # a new drive\n  ctl upload disk.img zrh:$drive",
	}
	upload.Flags().Bool("wait", false, "")
	upload.Flags().Int("limit", 0, "")
	jobs := &cobra.Command{Use: "jobs", Example: "  ctl jobs list"}
	jobs.AddCommand(
		&cobra.Command{Use: "list", Args: cobra.NoArgs, Run: idle, Example: "  ctl jobs list"},
		&cobra.Command{
			Use: "retry [-c] ID...", Args: cobra.MinimumNArgs(1), Run: idle, Example: "  ctl jobs retry $job",
		},
	)
	root.AddCommand(upload, jobs)
	return root
}

// TestUsageErrorsHaveAHint: the error of a wrong command line is one line, with an example if
// arguments are missing, and its hint is the usage or where to find it.
func TestUsageErrorsHaveAHint(t *testing.T) {
	for line, want := range map[string]string{
		"upload a": "ctl: upload needs SOURCE and ENDPOINT:, for example: ctl upload disk.img zrh:\n" +
			"hint: usage: ctl upload SOURCE ENDPOINT:[UUID] [flags]\n",
		"upload": "ctl: upload needs SOURCE and ENDPOINT:, for example: ctl upload disk.img zrh:\n" +
			"hint: usage: ctl upload SOURCE ENDPOINT:[UUID] [flags]\n",
		"upload a b c": "ctl: upload takes SOURCE ENDPOINT:[UUID], and 3 arguments were given, " +
			"for example: ctl upload disk.img zrh:\n" +
			"hint: usage: ctl upload SOURCE ENDPOINT:[UUID] [flags]\n",
		"jobs retry": "ctl: jobs retry needs ID, for example: ctl jobs retry $job\n" +
			"hint: usage: ctl jobs retry [-c] ID... [flags]\n",
		"jobs list x": "ctl: jobs list takes no arguments, and 1 argument was given, for example: ctl jobs list\n" +
			"hint: usage: ctl jobs list [flags]\n",
		"completion": "ctl: completion needs bash|fish|powershell|zsh, for example: ctl completion bash >ctl.bash\n" +
			"hint: usage: ctl completion bash|fish|powershell|zsh\n",
		"completion ksh": "ctl: completion: \"ksh\" is not a shell\n" +
			"hint: use bash, fish, powershell or zsh\n",
		"uplaod a b": "ctl: there is no command \"uplaod\"; did you mean upload?\n" +
			"hint: ctl --help lists the commands\n",
		"jobs lst": "ctl: there is no command \"jobs lst\"; did you mean list?\n" +
			"hint: ctl jobs --help lists the commands\n",
		"jobs": "ctl: jobs needs one of its commands: list, retry, for example: ctl jobs list\n" +
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
			"hint: use digits only\n",
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
			t.Errorf("%s: exit status %d and\n%swant 2 and\n%s", line, status, stderr.String(), want)
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
		t.Errorf("exit status %d and %q, want 0 and the help", status, out.String())
	}
	ran := false
	root = tree()
	root.Args, root.Run = cobra.NoArgs, func(*cobra.Command, []string) { ran = true }
	root.SetOut(&out)
	root.SetArgs([]string{})
	if status := run(context.Background(), root); status != 0 || !ran {
		t.Errorf("exit status %d, and the program ran: %v; want 0 and true", status, ran)
	}
}
