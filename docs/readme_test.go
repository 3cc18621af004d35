package docs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfertest"
)

// TestQuickStartRuns types the quick start of README.md, on a free port.
func TestQuickStartRuns(t *testing.T) {
	address := transfertest.FreeAddress(t)
	typed(t, block(t, "../README.md", "## Quick start", "sh"), strings.NewReplacer(
		"transferd sandbox ", "transferd sandbox --listen "+address+" ", "127.0.0.1:7420\"", address+"\""))
}

// TestTwoSandboxesRun types the section of configuration.md about two sandboxes, on free ports.
func TestTwoSandboxesRun(t *testing.T) {
	first, second := transfertest.FreeAddress(t), transfertest.FreeAddress(t)
	typed(t, block(t, "configuration.md", "### Two sandboxes", "sh"),
		strings.NewReplacer("127.0.0.1:7421", first, "127.0.0.1:7422", second))
}

// TestServersPageRuns types servers.md, on two sandboxes with a server that runs.
func TestServersPageRuns(t *testing.T) {
	zrh, lvs, status := transfertest.FreeAddress(t), transfertest.FreeAddress(t), transfertest.FreeAddress(t)
	text, err := os.ReadFile("servers.md")
	if err != nil {
		t.Fatal(err)
	}
	script := []string{`
export SANDBOX_PASSWORD=secret TRANSFERD_CONFIG=$PWD/config.yaml TRANSFERD_STATE=$PWD/state
transferd sandbox --listen ZRH --data zrh --user me --password secret --clone-in-use --guest-writes 1M &
transferd sandbox --listen LVS --data lvs --user me --password secret &
cat >config.yaml <<END
listen: STATUS
endpoints:
  zrh: {url: "http://ZRH", user: me, password_env: SANDBOX_PASSWORD}
  lvs: {url: "http://LVS", user: me, password_env: SANDBOX_PASSWORD}
END
transferd &
transferctl upload disk.img zrh: --name root --wait
drive=$(transferctl upload disk.img zrh: --name data --wait)
transferctl verify zrh:data disk.img --wait
vlan=$(echo "name office" | transferctl api -e zrh -c resources vlan create | sed -n "s/^resource //p")
echo "name office" | transferctl api -e lvs -c resources vlan create
printf "name web\ncpu 1000\nmem 512\nide:0:0 $drive\nnic:0:dhcp auto\nnic:1:vlan $vlan\nstatus active\n" |
	transferctl api -e zrh -c servers create
`}
	for _, block := range strings.Split(string(text), "```sh\n")[1:] {
		commands, _, _ := strings.Cut(block, "```")
		script = append(script, commands)
	}
	typed(t, strings.Join(script, ""), strings.NewReplacer("ZRH", zrh, "LVS", lvs, "STATUS", status))
}

// TestBatchesRun types the commands of batches.md, on free ports.
func TestBatchesRun(t *testing.T) {
	first, second, third := transfertest.FreeAddress(t), transfertest.FreeAddress(t), transfertest.FreeAddress(t)
	typed(t, block(t, "batches.md", "## Try it", "sh"),
		strings.NewReplacer("127.0.0.1:7421", first, "127.0.0.1:7422", second, "127.0.0.1:7423", third))
}

// typed runs a script as a user types it, in a folder with an image disk.img. The script must
// verify a drive. Ports that it uses are replaced by free ones.
func typed(t *testing.T, script string, ports *strings.Replacer) {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "bin")+"/", "../cmd/...")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "disk.img"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	replaced := ports.Replace(script)
	if strings.Contains(replaced, `"http://127.0.0.1:74`) || replaced == script {
		t.Fatalf("the script has another form:\n%s", replaced)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-e")
	cmd.Stdin = strings.NewReader(replaced + "jobs -p >started; kill $(cat started); wait || true\n")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"), "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second // the sandboxes have the output, too, and go on if the script fails
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	if err != nil || !strings.Contains(out.String(), "\nequal\n") {
		t.Errorf("got %v, want a verified drive:\n%s", err, &out)
	}
}

// block returns the first fenced block of a language below a heading.
func block(t *testing.T, page, heading, language string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n"+heading+"\n")
	_, rest, _ = strings.Cut(rest, "```"+language+"\n")
	script, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatalf("%s has no block of %s below %q", page, language, heading)
	}
	return script
}
