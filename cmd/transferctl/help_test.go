package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// help is what a command prints for --help, by section.
type help struct {
	path     string // "transferctl jobs list"
	short    string // its line in the help of its parent
	text     string // before the usage
	usage    []string
	examples []string
	commands []help // subcommands, with path and short only
	flags    []string
}

// readHelp runs COMMAND --help and divides what it prints into its sections.
func readHelp(t *testing.T, path string) help {
	t.Helper()
	words := strings.Fields(path)
	cmd := exec.Command(filepath.Join(programs, words[0]), append(words[1:], "--help")...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s --help: %v", path, err)
	}
	text, rest, ok := strings.Cut(string(out), "\nUsage:\n")
	if !ok {
		t.Fatalf("%s --help has no usage:\n%s", path, out)
	}
	h := help{path: path, text: strings.TrimSpace(text)}
	section := "Usage:"
	for _, line := range strings.Split(rest, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "":
		case !strings.HasPrefix(line, " "):
			section = line
		case section == "Usage:":
			h.usage = append(h.usage, trimmed)
		case section == "Examples:":
			h.examples = append(h.examples, trimmed)
		case section == "Available Commands:":
			name, short, _ := strings.Cut(trimmed, " ")
			h.commands = append(h.commands, help{path: path + " " + name, short: strings.TrimSpace(short)})
		case section == "Flags:" && !strings.Contains(line, "-h, --help "):
			h.flags = append(h.flags, line)
		}
	}
	return h
}

// allHelp reads the help of both programs and of all their commands, parents before their children.
func allHelp(t *testing.T) (all []help) {
	t.Helper()
	var read func(path, short string)
	read = func(path, short string) {
		h := readHelp(t, path)
		h.short = short
		all = append(all, h)
		for _, c := range h.commands {
			read(c.path, c.short)
		}
	}
	read("transferctl", "")
	read("transferd", "")
	for i := range all {
		all[i].short = cmp.Or(all[i].short, strings.Split(all[i].text, "\n")[0])
	}
	return all
}

// typeName matches a flag whose placeholder is a type, or a word that does not describe its value.
var typeName = regexp.MustCompile(`--[a-z0-9-]+ (string|strings|stringArray|int|uint64|value|many)\b`)

// TestFlagPlaceholdersNameTheValue: the help has "--jobs n", not "--jobs int", and durations as
// they are typed.
func TestFlagPlaceholdersNameTheValue(t *testing.T) {
	for _, h := range allHelp(t) {
		for _, line := range h.flags {
			if typeName.MatchString(line) {
				t.Errorf("%s: the placeholder names a type: %s", h.path, line)
			}
			if strings.Contains(line, "0s)") {
				t.Errorf("%s: a duration is not written as 7d: %s", h.path, line)
			}
		}
	}
}

// TestExamplesOfHelpRun: each command has examples in its help, and each of them ends with status 0
// on a host with two endpoints and a transferd.
func TestExamplesOfHelpRun(t *testing.T) {
	host := newExampleHost(t)
	for _, h := range allHelp(t) {
		t.Run(h.path, func(t *testing.T) {
			if len(h.examples) == 0 {
				t.Errorf("%s --help has no example", h.path)
			}
			host.enterFolder(t)
			for _, line := range h.examples {
				if h.path == "transferd" || h.path == "transferd sandbox" {
					host.serve(t, line)
				} else {
					host.run(t, h.path, line)
				}
			}
		})
	}
}

// exampleHost has what the examples name: the endpoints zrh and lvs, images, and a manifest. A
// transferd runs its jobs.
type exampleHost struct {
	files string // folder of the config, the images and the manifest
	dir   string // where examples run
	env   []string
}

func newExampleHost(t *testing.T) *exampleHost {
	t.Helper()
	h := &exampleHost{files: t.TempDir()}
	h.dir = h.files
	h.env = append(os.Environ(), "HOME="+h.files, "TRANSFERD_CONFIG="+filepath.Join(h.files, "config.yaml"),
		"TRANSFERD_STATE="+filepath.Join(h.files, "state"), "SANDBOX_PASSWORD=p",
		"PATH="+programs+string(os.PathListSeparator)+os.Getenv("PATH"))
	config := "listen: 127.0.0.1:0\nendpoints:\n"
	for _, name := range []string{"zrh", "lvs"} {
		config += fmt.Sprintf("  %s: {url: %q, user: u, password_env: SANDBOX_PASSWORD}\n",
			name, sandboxFor(t, filepath.Join(h.files, name)))
	}
	if err := os.WriteFile(filepath.Join(h.files, "config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(filepath.Join(programs, "transferd"))
	daemon.Dir, daemon.Env = h.dir, h.env
	h.start(t, daemon, "taking jobs")
	h.shell(t, "head -c 1M /dev/urandom >disk.img && truncate -s 4M disk.img && gzip -k disk.img")
	h.shell(t, "transferctl download zrh:"+h.upload(t)+" copy.img --local && rm copy.img && "+
		"mv copy.img.manifest.json disk.img.manifest.json")
	return h
}

// enterFolder has the next examples run in a new folder with copies of the files.
func (h *exampleHost) enterFolder(t *testing.T) {
	t.Helper()
	h.dir = t.TempDir()
	h.shell(t, "cp "+h.files+"/config.yaml "+h.files+"/disk.img* .")
	name := filepath.Base(filepath.Dir(h.dir)) // of the test, so that drives have names of their own
	h.shell(t, `echo "items: [{source: disk.img, target: 'zrh:', name: `+name+`-yaml}]" >plan.yaml
printf 'source,target,name\ndisk.img,lvs:,`+name+`-csv\n' >plan.csv`)
}

// start starts a program that is terminated at the end of the test, unless the test does it.
func (h *exampleHost) start(t *testing.T, cmd *exec.Cmd, word string) *process {
	t.Helper()
	p, err := startProcess(cmd, word)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.end(syscall.SIGTERM) })
	return p
}

// shell runs a line in the folder and returns its standard output.
func (h *exampleHost) shell(t *testing.T, line string, variables ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-ec", line)
	cmd.Dir, cmd.Env = h.dir, append(slices.Clone(h.env), variables...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%s: %v\n%s%s", line, err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// upload makes a drive with the image on zrh, and returns its UUID.
func (h *exampleHost) upload(t *testing.T) string {
	t.Helper()
	return h.shell(t, "transferctl upload disk.img zrh: --local")
}

// server makes a server with a drive on zrh, starts it, and returns its UUID.
func (h *exampleHost) server(t *testing.T) string {
	t.Helper()
	return h.shell(t, `drive=$(transferctl upload disk.img zrh: --local)
server=$(printf "name web\ncpu 1000\nmem 512\nide:0:0 $drive\n" | transferctl api -e zrh -c servers create |
	sed -n "s/^server //p")
transferctl servers start zrh:$server >&2
echo $server`)
}

// run runs an example, with the variables $drive, $server, $job and $batch that it names.
func (h *exampleHost) run(t *testing.T, command, line string) {
	t.Helper()
	var variables []string
	if strings.Contains(line, "$drive") {
		variables = append(variables, "drive="+h.upload(t))
	}
	if strings.Contains(line, "$server") {
		variables = append(variables, "server="+h.server(t))
	}
	if strings.Contains(line, "$job") {
		variables = append(variables, "job="+h.job(t, command))
	}
	if strings.Contains(line, "$batch") {
		variables = append(variables, "batch="+h.shell(t, "transferctl batch run plan.yaml --wait -o json | jq -r .id"))
	}
	h.shell(t, line, variables...)
}

// job returns the ID of a job in the state that the command needs: queued to be canceled, canceled
// to be retried, else succeeded.
func (h *exampleHost) job(t *testing.T, command string) string {
	t.Helper()
	const enqueue = "transferctl upload disk.img zrh: --force"
	switch command {
	case "transferctl jobs cancel":
		return h.shell(t, enqueue+" --queue unserved")
	case "transferctl jobs retry":
		return h.shell(t, "job=$("+enqueue+" --queue unserved); transferctl jobs cancel $job >&2; echo $job")
	}
	return h.shell(t, "job=$("+enqueue+"); transferctl jobs watch $job >&2; echo $job")
}

// serve runs an example of a daemon, in a state folder of its own and on a free port, until it is
// ready; SIGTERM must end it with status 0.
func (h *exampleHost) serve(t *testing.T, line string) {
	t.Helper()
	line, _, _ = strings.Cut(line, " #")
	word := "taking jobs"
	if strings.Contains(line, "sandbox") {
		word = "sandbox: http://"
	}
	cmd := exec.Command("sh", "-c", "exec "+line+" --listen 127.0.0.1:0")
	cmd.Dir, cmd.Env = h.dir, append(slices.Clone(h.env), "TRANSFERD_STATE="+filepath.Join(t.TempDir(), "state"))
	p := h.start(t, cmd, word)
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("%s: got %v after SIGTERM, want status 0\n%s", line, err, p.log.String())
	}
}
