// Command compare runs transferd and other programs that do the same work on the same images, and
// prints the times and their ratios to transferd's. `make bench-compare` checks that the programs
// are installed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
)

func main() {
	size := flag.Int64("size", 1024, "size of each image, `MiB`")
	choices := flag.Bool("choices", false,
		"instead compare transferd's own choices with fixed settings, over many links")
	limits := flag.Bool("limits", false,
		"instead run transferd -alone over many links, to compare it with their limits")
	o := options{links: defaultLinks}
	flag.IntVar(&o.reps, "reps", 5, "`number` of runs of each contender, whose medians are printed")
	flag.BoolVar(&o.slow, "slow", true, "also run, once, contenders that take a minute or more")
	flag.BoolVar(&o.alone, "alone", false, "run no contender but transferd")
	flag.StringVar(&o.link, "only", "", "only the links with this `prefix` in their names")
	flag.StringVar(&o.image, "image", "", "only the images with this `prefix` in their names")
	flag.StringVar(&o.kind, "kind", "",
		"only the kinds of work with this `prefix`: upload, download, tebibyte; encoding, in flight")
	flag.Parse()
	o.size = *size << 20
	switch {
	case *choices:
		o.links = choiceLinks
	case *limits:
		o.links, o.alone = limitLinks(), true
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	size              int64 // of each image, bytes
	reps              int
	slow              bool
	alone             bool   // no contender but transferd
	link, image, kind string // prefixes of names
	links             []link
}

func run(ctx context.Context, o options) error {
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
	for _, l := range o.links {
		if !strings.HasPrefix(l.name, o.link) {
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

// makeImages makes the three images.
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
	cmd.Env = append(os.Environ(), "GOROOT="+strings.TrimSpace(string(root)), fmt.Sprintf("SIZE=%d", b.size),
		"PATH="+os.Getenv("PATH")+":/usr/sbin")
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
			for _, c := range b.contenders(l, kind, rep) {
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

// contenders are those of one run of a kind of work over a link.
func (b *bench) contenders(l link, kind string, rep int) (list []contender) {
	for _, c := range contenders {
		shaped, alone := l.shape != nil, b.alone && len(list) > 0
		if c.kind != kind || alone || shaped && !c.links || c.slow && (rep > 0 || !b.slow || shaped) {
			continue
		}
		list = append(list, c)
	}
	return list
}

// cut cuts the image to the size that the link is measured with, and returns its path.
func (b *bench) cut(l link, image string) (string, error) {
	path := b.path(image + ".img")
	if l.size == 0 || l.size >= b.size {
		return path, nil
	}
	short := b.path(image + "-short.img")
	const script = `head -c "$1" "$2" | dd of="$3" bs=64k iflag=fullblock conv=sparse status=none
truncate -s "$1" "$3"`
	out, err := exec.Command("sh", "-c", script, "sh", fmt.Sprint(l.size), path, short).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cut image: %w\n%s", err, out)
	}
	return short, nil
}
