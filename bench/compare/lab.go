package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func replace(s, old, text string) string { return strings.ReplaceAll(s, old, text) }

// lab has the servers, and the link to them.
type lab struct {
	dir, image string
	servers    []*exec.Cmd
	addresses  map[string]string // of the servers as the client sees them, by variable
	shapers    []*shaper
}

func newLab(ctx context.Context, b *bench, l link, image string) (_ *lab, err error) {
	t := &lab{dir: b.path("lab"), image: image, addresses: make(map[string]string)}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if err := os.MkdirAll(filepath.Join(t.dir, "dav"), 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(t.dir, "target.img"), nil, 0o600); err != nil {
		return nil, err
	}
	for variable, words := range map[string]func(host, port string) []string{
		"API": func(host, port string) []string {
			words := []string{
				b.path("bin", "transferd"), "sandbox", "--listen", host + ":" + port,
				"--data", "drives", "--user", "u", "--password", "p",
			}
			if l.fault != "" {
				words = append(words, "--fault", l.fault)
			}
			return words
		},
		"NBD": func(host, port string) []string {
			return []string{"nbdkit", "--foreground", "--ipaddr", host, "--port", port, "file", "target.img"}
		},
		"DAV": func(host, port string) []string {
			return []string{"rclone", "--config", "/dev/null", "serve", "webdav", "dav", "--addr", host + ":" + port}
		},
	} {
		if err := t.start(ctx, l, variable, words); err != nil {
			return nil, err
		}
	}
	// Scripts that are not measured use the endpoint near, which has no shaper.
	config := "endpoints:\n"
	for name, address := range map[string]string{"s": t.addresses["API"], "near": t.addresses["NEAR_API"]} {
		config += fmt.Sprintf("  %s: {url: \"http://%s\", user: u, password_env: BENCH_PASSWORD}\n", name, address)
	}
	return t, os.WriteFile(filepath.Join(t.dir, "config.yaml"), []byte(config), 0o600)
}

// start runs a server at a free port, behind the link's shape, and waits until it listens.
func (t *lab) start(ctx context.Context, l link, variable string, words func(host, port string) []string) error {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(address)
	if err := t.serve(ctx, words(host, port)); err != nil {
		return err
	}
	if err := await(ctx, address); err != nil {
		return err
	}
	t.addresses["NEAR_"+variable] = address
	if t.addresses[variable] = address; l.shape == nil {
		return nil
	}
	s, err := newShaper(address, l.shape)
	if err != nil {
		return err
	}
	t.addresses[variable], t.shapers = s.address(), append(t.shapers, s)
	return nil
}

func await(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (t *lab) serve(ctx context.Context, words []string) error {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = t.dir
	// Ctrl-C does not reach them: they end with the lab, or when this process is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", words[0], err)
	}
	t.servers = append(t.servers, cmd)
	return nil
}

// bash runs a script of the client.
func (t *lab) bash(ctx context.Context, script string) (*os.ProcessState, error) {
	cmd := exec.CommandContext(ctx, "bash", "-c", "set -e -o pipefail\n"+script)
	cmd.Dir = t.dir
	// The processes of the script end with bash.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	at := func(name string) string { return filepath.Join(t.dir, name) }
	bin := filepath.Join(filepath.Dir(t.dir), "bin")
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "BENCH_PASSWORD=p",
		"IMG="+t.image, "OUT="+at("out.img"), "TARGET="+at("target.img"),
		"TRANSFERD_CONFIG="+at("config.yaml"), "TRANSFERD_STATE="+at("state"))
	for variable, address := range t.addresses {
		cmd.Env = append(cmd.Env, variable+"="+address)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w\n%s%s", err, script, out.Bytes())
	}
	return cmd.ProcessState, nil
}

// warm makes the kernel allocate and free as much memory as a copy needs. A virtual machine's host
// reclaims memory that was free for seconds, and to get it back can take longer than the copy.
const warm = `head -c $(($(stat -c %s "$IMG") * 2)) /dev/zero >warm; rm warm`

// measure runs a contender once and checks that the result is equal.
func (t *lab) measure(ctx context.Context, c contender) (r result, err error) {
	if _, err := t.bash(ctx, c.prepare+"\n"+warm); err != nil {
		return r, fmt.Errorf("prepare: %w", err)
	}
	out, in := t.wire()
	before := t.serverTime()
	began := time.Now()
	state, err := t.bash(ctx, c.run)
	if err != nil {
		return r, err
	}
	r.took = time.Since(began)
	outNow, inNow := t.wire()
	r.out, r.in = outNow-out, inNow-in
	r.cpu = state.UserTime() + state.SystemTime() + t.serverTime() - before
	r.peak = state.SysUsage().(*syscall.Rusage).Maxrss << 10
	if _, err := t.bash(ctx, c.check); err != nil {
		return r, fmt.Errorf("the result is not equal: %w", err)
	}
	_, err = t.bash(ctx, `rm -f "$OUT"
for d in $(transferctl api -e near drives list); do transferctl drives destroy near:$d; done`)
	return r, err
}

// wire is the number of bytes that have crossed the link in each direction: those of the shapers
// or, without them, of loopback, which does not distinguish the directions.
func (t *lab) wire() (out, in int64) {
	for _, s := range t.shapers {
		out, in = out+s.passed[0].Load(), in+s.passed[1].Load()
	}
	text, err := os.ReadFile("/proc/net/dev")
	if len(t.shapers) > 0 || err != nil {
		return out, in
	}
	for line := range strings.Lines(string(text)) {
		name, counts, _ := strings.Cut(strings.TrimSpace(line), ":")
		if fields := strings.Fields(counts); name == "lo" && len(fields) > 0 {
			out, _ = strconv.ParseInt(fields[0], 10, 64)
		}
	}
	return out, 0
}

// serverTime is the processor time of all servers since their start.
func (t *lab) serverTime() (total time.Duration) {
	const perTick = 10 * time.Millisecond // USER_HZ is 100 on every Linux
	for _, s := range t.servers {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.Process.Pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), ") ") // the name before it may have blanks
		if fields := strings.Fields(rest); len(fields) > 12 {
			for _, f := range fields[11:13] {
				n, _ := strconv.ParseInt(f, 10, 64)
				total += time.Duration(n) * perTick
			}
		}
	}
	return total
}

// close ends the servers.
func (t *lab) close() {
	for _, s := range t.shapers {
		s.close()
	}
	for _, s := range t.servers {
		_ = s.Process.Signal(syscall.SIGTERM)
		if err := s.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
			fmt.Fprintln(os.Stderr, "compare:", err)
		}
	}
	_ = os.RemoveAll(t.dir)
}
