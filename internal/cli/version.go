package cli

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// Version is what a program's build information says about its source.
type Version struct {
	Version  string `json:"version"`  // of the module: a release, a pseudo-version of a commit, or "(devel)"
	Commit   string `json:"commit"`   // revision of the version control system; empty: not known
	Time     string `json:"time"`     // of the commit, RFC 3339; empty: not known
	Modified bool   `json:"modified"` // the source had changes that were not committed
	Go       string `json:"go"`       // version of the Go toolchain
}

// BuildVersion reads the build information of this process.
func BuildVersion() Version {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Version{Version: devel}
	}
	return versionOf(info)
}

// devel is the version of a module that was built from a folder without version control.
const devel = "(devel)"

func versionOf(info *debug.BuildInfo) Version {
	v := Version{Version: info.Main.Version, Go: info.GoVersion}
	if v.Version == "" {
		v.Version = devel
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

// String is one line, without the program's name.
func (v Version) String() string {
	words := []string{v.Version}
	if v.Version == devel {
		words[0] = "of unknown version"
	}
	switch {
	case v.Commit != "" && v.Modified:
		words = append(words, fmt.Sprintf("commit %.12s with changes", v.Commit))
	case v.Commit != "":
		words = append(words, fmt.Sprintf("commit %.12s", v.Commit))
	case v.Version == devel:
		words = append(words, "built without version control data")
	}
	for _, word := range []string{v.Time, v.Go} {
		if word != "" {
			words = append(words, word)
		}
	}
	return strings.Join(words, ", ")
}

// AddVersionFlag adds --version to the commands, all of which are commands of one program.
func AddVersionFlag(program string, commands ...*cobra.Command) {
	for _, cmd := range commands {
		cmd.Version = BuildVersion().String()
		cmd.SetVersionTemplate(program + " {{.Version}}\n")
		cmd.Flags().Bool("version", false, "print the version")
	}
}
