// Command compare measures transferd against what its users would pick instead, on the same images
// and the same machine, and prints the times and their ratios to ours.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	size := flag.Int64("size", 1024, "`MiB` of each image")
	reps := flag.Int("reps", 5, "how `often` each is run; the medians are printed")
	slow := flag.Bool("slow", true, "also run what takes a minute and more, once")
	only := flag.String("only", "", "only the links whose names begin so")
	image := flag.String("image", "", "only the images whose names begin so")
	kind := flag.String("kind", "", "only the kinds of work whose names begin so: upload, download, tebibyte; encoding, in flight")
	choices := flag.Bool("choices", false, "instead compare transferd's own choices with all fixed settings, over many links")
	alone := flag.Bool("alone", false, "run nothing but transferd")
	limits := flag.Bool("limits", false, "instead run transferd -alone over many links, to see how near it comes to their limits")
	flag.Parse()
	switch {
	case *choices:
		links = choiceLinks
	case *limits:
		links = limitLinks
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, options{size: *size << 20, reps: *reps, slow: *slow, alone: *alone || *limits, only: *only, image: *image, kind: *kind})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

type options struct {
	size              int64
	reps              int
	slow              bool
	alone             bool // nothing but transferd
	only, image, kind string
}

// programs are what is compared, and what runs it: each with the Debian package that has it.
var programs = [][2]string{
	{"dd", "coreutils"}, {"gzip", "gzip"}, {"pigz", "pigz"}, {"curl", "curl"}, {"nbdcopy", "libnbd-bin"}, {"nbdkit", "nbdkit"},
	{"qemu-img", "qemu-utils"}, {"rclone", "rclone"}, {"openssl", "openssl"}, {"mkfs.ext4", "e2fsprogs"},
}

func checkPrograms() error {
	var missing []string
	for _, p := range programs {
		if _, err := exec.LookPath(p[0]); err != nil {
			if _, err := os.Stat("/usr/sbin/" + p[0]); err != nil {
				missing = append(missing, p[1])
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("programs are missing: apt-get install %s", strings.Join(missing, " "))
}

func run(ctx context.Context, o options) error {
	if err := checkPrograms(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("/dev/shm", "transferd-compare")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{options: o, dir: dir}
	if err := b.build(ctx); err != nil {
		return err
	}
	if err := b.makeImages(ctx); err != nil {
		return err
	}
	for _, l := range links {
		if !strings.HasPrefix(l.name, o.only) {
			continue
		}
		for _, image := range l.images {
			if !strings.HasPrefix(image, o.image) {
				continue
			}
			if err := b.compare(ctx, l, image); err != nil {
				return fmt.Errorf("%s, %s: %w", l.name, image, err)
			}
		}
	}
	return nil
}

// link is what lies between the two ends.
type link struct {
	name   string
	shape  *shape // nil: loopback as it is
	fault  string // of the sandbox; a delay by it costs no processor time, as the relay does
	images []string
	size   int64 // of the images, if not what was asked for; bytes
	kinds  []string
}

// shape is what a link allows each way.
type shape struct {
	rate  float64 // bytes a second
	delay time.Duration
}

const mbit = 1e6 / 8

var both = []string{"upload", "download"}

var links = []link{
	{name: "loopback", images: []string{"dense", "random", "sparse"}, kinds: both},
	{name: "1 TiB, loopback", images: []string{"dense"}, kinds: []string{"tebibyte"}},
	{name: "1Gbit, 20 ms", shape: &shape{1000 * mbit, 10 * time.Millisecond}, images: []string{"dense"}, size: 256 << 20, kinds: both},
	{name: "200Mbit, 20 ms", shape: &shape{200 * mbit, 10 * time.Millisecond}, images: []string{"dense"}, size: 256 << 20, kinds: both},
}

var (
	all    = []string{"dense", "random", "sparse"}
	chosen = []string{"encoding", "in flight"}
)

// choiceLinks are those over which transferd's choices are compared with fixed settings. The images for slow links are as
// small as can be: of fewer chunks most are the first ones.
var choiceLinks = []link{
	{name: "10Mbit, 20 ms", shape: &shape{10 * mbit, 10 * time.Millisecond}, images: all, size: 64 << 20, kinds: chosen},
	{name: "100Mbit, 20 ms", shape: &shape{100 * mbit, 10 * time.Millisecond}, images: all, size: 256 << 20, kinds: chosen},
	{name: "1Gbit, 20 ms", shape: &shape{1000 * mbit, 10 * time.Millisecond}, images: all, kinds: chosen},
	{name: "loopback", images: all, kinds: chosen},
	{name: "latency 5 ms", fault: "latency=5ms", images: []string{"random"}, kinds: []string{"in flight"}},
	{name: "latency 20 ms", fault: "latency=20ms", images: []string{"random"}, kinds: []string{"in flight"}},
	{name: "latency 100 ms", fault: "latency=100ms", images: []string{"random"}, kinds: []string{"in flight"}},
}

// limitLinks are those over which transferd should take no longer than what limits it: the link, or the processors.
var limitLinks = func() (list []link) {
	for _, rate := range []int{50, 200, 1000} {
		for _, size := range []int64{256, 1024} {
			list = append(list, link{
				name: fmt.Sprintf("%dMbit, 20 ms, %d MiB", rate, size), shape: &shape{float64(rate) * mbit, 10 * time.Millisecond},
				images: []string{"dense", "random"}, size: size << 20, kinds: both,
			})
		}
	}
	return list
}()

// bench is the folder, the programs and the images of a run.
type bench struct {
	options
	dir string
}

func (b *bench) path(name ...string) string {
	return filepath.Join(append([]string{b.dir}, name...)...)
}

func (b *bench) build(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", b.path("bin")+"/", "./cmd/transferd", "./cmd/transferctl")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build (run this in the project's folder): %w\n%s", err, out)
	}
	return nil
}

// makeImages makes the three images, and shorter ones for slow links.
func (b *bench) makeImages(ctx context.Context) error {
	// Sparse is a file system of Go's sources, three quarters empty. Dense is real files without
	// the gaps between them; the first is not in the archive, because transferd refuses an archive.
	script := `set -e
mkfs.ext4 -q -F -d "$GOROOT/src" sparse.img $((SIZE / 1024))k
{
	cat "$GOROOT/bin/go"
	while :; do
		tar -C "$GOROOT" -cf - src pkg bin
		tar -C /usr -cf - lib share
	done
} 2>/dev/null | head -c $SIZE >dense.img
head -c $SIZE /dev/urandom >random.img`
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "GOROOT="+strings.TrimSpace(string(root)), fmt.Sprintf("SIZE=%d", b.size), "PATH="+os.Getenv("PATH")+":/usr/sbin")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make images: %w\n%s", err, out)
	}
	return nil
}

// compare runs all contenders on one image over one link, in turn, several times.
func (b *bench) compare(ctx context.Context, l link, image string) error {
	path, err := b.cut(l, image)
	if err != nil {
		return err
	}
	lab, err := newLab(ctx, b, l, path)
	if err != nil {
		return err
	}
	defer lab.close()
	for _, kind := range l.kinds {
		if !strings.HasPrefix(kind, b.kind) {
			continue
		}
		results := make(map[string][]result)
		var names []string
		for rep := range b.reps {
			for _, c := range contenders {
				if c.kind != kind || (b.alone && len(names) > 0 && c.name != names[0]) || (!c.links && l.shape != nil) || (c.slow && (rep > 0 || !b.slow || l.shape != nil)) {
					continue
				}
				r, err := lab.measure(ctx, c)
				if err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				if results[c.name] = append(results[c.name], r); rep == 0 {
					names = append(names, c.name)
				}
			}
		}
		printTable(l, image, kind, names, results)
	}
	return nil
}

// cut is the image in the size that the link is measured with.
func (b *bench) cut(l link, image string) (string, error) {
	path := b.path(image + ".img")
	if l.size == 0 || l.size >= b.size {
		return path, nil
	}
	short := b.path(image + "-short.img")
	const script = `head -c "$1" "$2" | dd of="$3" bs=64k iflag=fullblock conv=sparse status=none; truncate -s "$1" "$3"`
	out, err := exec.Command("sh", "-c", script, "sh", fmt.Sprint(l.size), path, short).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cut image: %w\n%s", err, out)
	}
	return short, nil
}

func printTable(l link, image, kind string, names []string, results map[string][]result) {
	fmt.Printf("\n%s, %s, %s\n", l.name, image, kind)
	fmt.Printf("  %-46s %8s %15s %6s %8s %9s %9s %9s\n", "", "seconds", "spread", "ratio", "cpu s", "peak MiB", "wire MiB", "of limit")
	ours := median(results[names[0]], func(r result) float64 { return r.took.Seconds() })
	for _, name := range names {
		all := results[name]
		seconds := func(r result) float64 { return r.took.Seconds() }
		low, high := seconds(all[0]), seconds(all[0])
		for _, r := range all {
			low, high = min(low, seconds(r)), max(high, seconds(r))
		}
		fmt.Printf("  %-46s %8.2f %7.2f–%7.2f %6.2f %8.2f %9.0f %9.0f %8.0f%%\n", name, median(all, seconds), low, high, median(all, seconds)/ours,
			median(all, func(r result) float64 { return r.cpu.Seconds() }), median(all, func(r result) float64 { return float64(r.peak) / (1 << 20) }),
			median(all, func(r result) float64 { return float64(r.wire()) / (1 << 20) }), 100*median(all, func(r result) float64 { return r.ofLimit(l) }))
	}
}

func median(list []result, of func(result) float64) float64 {
	values := make([]float64, len(list))
	for i, r := range list {
		values[i] = of(r)
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// result is what one run took. Processor time and memory are those of both ends.
type result struct {
	took time.Duration
	cpu  time.Duration
	peak int64 // resident memory of the client's largest process, bytes
	out  int64 // bytes that crossed the link, from the client
	in   int64 // and to it
}

func (r result) wire() int64 { return r.out + r.in }

// ofLimit is how near the run came to what limits it: 1 is as fast as the direction of the link with more bytes, or all
// processors, allow.
func (r result) ofLimit(l link) float64 {
	limit := r.cpu.Seconds() / float64(runtime.NumCPU())
	if l.shape != nil {
		limit = max(limit, float64(max(r.out, r.in))/l.shape.rate)
	}
	return limit / r.took.Seconds()
}
