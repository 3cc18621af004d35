package cli

import (
	"context"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestVersionLine: one line names the version, the commit and its date, and the Go version. A build
// without version control data says so.
func TestVersionLine(t *testing.T) {
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "e6a8131d6f1c2b3a4958677584930211aabbccdd"}
	date := debug.BuildSetting{Key: "vcs.time", Value: "2026-11-27T10:00:00Z"}
	modified := debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	for _, tc := range []struct {
		version  string
		settings []debug.BuildSetting
		want     string
	}{
		{"v1.2.3", nil, "v1.2.3, go1.26.10"},
		{
			"v1.2.3", []debug.BuildSetting{revision, date},
			"v1.2.3, commit e6a8131d6f1c, 2026-11-27T10:00:00Z, go1.26.10",
		},
		{
			"(devel)", []debug.BuildSetting{revision, date, modified},
			"of unknown version, commit e6a8131d6f1c with changes, 2026-11-27T10:00:00Z, go1.26.10",
		},
		{"(devel)", nil, "of unknown version, built without version control data, go1.26.10"},
		{"", nil, "of unknown version, built without version control data, go1.26.10"},
	} {
		info := &debug.BuildInfo{GoVersion: "go1.26.10", Settings: tc.settings}
		info.Main.Version = tc.version
		if got := versionOf(info).String(); got != tc.want {
			t.Errorf("version %q with %v: got %q, want %q", tc.version, tc.settings, got, tc.want)
		}
	}
}

// TestVersionFlagNeedsNoArguments: --version prints the version instead of running the command.
func TestVersionFlagNeedsNoArguments(t *testing.T) {
	root, sub := tree(), &cobra.Command{Use: "sub NAME", Args: cobra.ExactArgs(1), Run: func(*cobra.Command, []string) {
		t.Error("the command ran")
	}}
	root.AddCommand(sub)
	AddVersionFlag("ctl", root, sub)
	for _, line := range []string{"--version", "sub --version"} {
		var out strings.Builder
		root.SetOut(&out)
		root.SetArgs(strings.Fields(line))
		want := "ctl " + BuildVersion().String() + "\n"
		if status := run(context.Background(), root); status != 0 || out.String() != want {
			t.Errorf("%s: exit status %d and %q, want 0 and %q", line, status, out.String(), want)
		}
	}
}
