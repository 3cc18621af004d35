package batch

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// writePlan writes a plan file and reads it.
func writePlan(t testing.TB, name, text string) (*Plan, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return ReadPlan(path)
}

const plan = `
defaults: {target: "zrh:", tags: [migrated], labels: {wave: "1"}, queue: far}
items:
  - source: images/*.qcow2
  - source: web.vmdk
    target: ["zrh:", "lvs:"]
    name: web
    size: 010G
  - {source: "zrh:tag=prod", target: "lvs:", labels: [team=x, a=b]}
`

// TestYAMLAndCSVMakeTheSameLines: a spreadsheet has the words of the YAML.
func TestYAMLAndCSVMakeTheSameLines(t *testing.T) {
	want := []Line{
		{Where: "line 4", Source: "images/*.qcow2", Targets: []string{"zrh:"}},
		{Where: "line 5", Source: "web.vmdk", Targets: []string{"zrh:", "lvs:"}},
		{Where: "line 9", Source: "zrh:tag=prod", Targets: []string{"lvs:"}},
	}
	p, err := writePlan(t, "plan.yaml", plan)
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Lines {
		l := p.Lines[i]
		defaults := Options{"target": {"zrh:"}, "tags": {"migrated"}, "labels": {"wave=1"}, "queue": {"far"}}
		if !reflect.DeepEqual(l.Defaults, defaults) {
			t.Errorf("got the defaults %v, want %v", l.Defaults, defaults)
		}
		l.Options, l.Defaults = nil, nil
		if !reflect.DeepEqual(l, want[i]) {
			t.Errorf("got %+v, want %+v", l, want[i])
		}
	}
	if got := p.Lines[1].Options["size"]; !reflect.DeepEqual(got, []string{"010G"}) {
		t.Errorf("got the size %q, want it as it is written", got)
	}
	for name, text := range map[string]string{
		"commas":     "Source,TARGET,tags,labels\r\nimages/*.qcow2,zrh:,\"a, b\",wave=1\r\n,,,\r\n",
		"semicolons": "\ufeffsource;target;tag;label\nimages/*.qcow2;zrh:;a b;wave=1\n",
		"tabs":       "source\ttarget\ttags\tlabels\nimages/*.qcow2\tzrh:\ta;b\twave=1\n",
	} {
		p, err := writePlan(t, "plan.CSV", text)
		if err != nil || len(p.Lines) != 1 {
			t.Errorf("%s: got %+v, %v; want one line", name, p, err)
			continue
		}
		want := Options{"source": {"images/*.qcow2"}, "target": {"zrh:"}, "tags": {"a", "b"}, "labels": {"wave=1"}}
		if got := p.Lines[0].Options; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	p, err = writePlan(t, "plan.csv", "source,target\na b.img,zrh:; lvs:\n")
	if err != nil || !reflect.DeepEqual(p.Lines[0].Targets, []string{"zrh:", "lvs:"}) {
		t.Errorf("got %+v, %v; want two targets", p, err)
	}
}

// TestBadPlansNameTheLine and what to write.
func TestBadPlansNameTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "no items",
		"items:":                            "items is not a list",
		"items: ":                           "items is not a list",
		"items: 3":                          "items is not a list",
		"item: [{source: a, target: 'z:'}]": `line 1: "item" is not a key of a plan`,
		"items:\n- {source: a, target: 'z:', nam: x}":        `line 2: "nam" is not a word of a plan`,
		"items:\n- {source: a}":                              "line 2: the item has no target",
		"items:\n- {target: 'z:'}":                           "line 2: the item has no source",
		"items:\n- {source: [a, b], target: 'z:'}":           "line 2: the item has several sources",
		"items:\n- {source: {a: b}, target: 'z:'}":           "source: the value has the wrong form",
		"items:\n- source: a\n  source: b\n  target: 'z:'":   `line 3: mapping key "source" already defined`,
		"items:\n- {source: *x, target: 'z:'}":               "the alias *x has no anchor",
		"items: [{source: a, target: 'z:'}]\n---\nitems: []": "several documents",
		"items:\n\t- {source: a}":                            "line 2",
		"items:\n- &a {<<: *a, source: a, target: 'z:'}":     "aliases",
		"\xff": "UTF-8",
	} {
		_, err := writePlan(t, "plan.yaml", text)
		if transfer.CodeOf(err) != transfer.CodeInvalid || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q: got %v, want an invalid plan: %s", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                           "it is empty",
		"source,nam\na,b\n":          `line 1: "nam" is not a word`,
		"source,target\na,z:,more\n": "line 2: column 3 has no word",
		"source,target\n\"a,z:\n":    "line 2",
		"source,target\n\na,\n":      "line 3: the item has no target",
		"source,target\n":            "no items",
	} {
		_, err := writePlan(t, "plan.csv", text)
		if transfer.CodeOf(err) != transfer.CodeInvalid || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q: got %v, want an invalid plan: %s", text, err, want)
		}
	}
	if _, err := ReadPlan(filepath.Join(t.TempDir(), "none.yaml")); transfer.CodeOf(err) != transfer.CodeNotFound {
		t.Errorf("got %v, want not found", err)
	}
}

// TestAliasesAreBounded: a small file whose aliases stand for billions of nodes is refused soon.
func TestAliasesAreBounded(t *testing.T) {
	text := "defaults:\n  labels: &a0 {k: v}\nitems:\n"
	for i := range 40 {
		text += fmt.Sprintf("- {source: a%d, target: 'z:', labels: &a%d {<<: *a%d, ? b : c, <<: *a%d}}\n", i, i+1, i, i)
	}
	began := time.Now()
	_, err := writePlan(t, "plan.yaml", text)
	if transfer.CodeOf(err) != transfer.CodeInvalid || time.Since(began) > 20*time.Second {
		t.Errorf("got %v after %s, want a refusal at once", err, time.Since(began))
	}
	p, err := writePlan(t, "plan.yaml", "defaults: &d {target: 'z:', labels: &l {a: b}}\n"+
		"items:\n- {source: x, labels: *l}\n- {<<: *d, source: y}\n")
	if err != nil || p.Lines[1].Targets[0] != "z:" || p.Lines[0].Options["labels"][0] != "a=b" {
		t.Errorf("got %+v, %v; want aliases and merge keys to work", p, err)
	}
}

// TestTenThousandItemsAreReadInSeconds: YAML and CSV.
func TestTenThousandItemsAreReadInSeconds(t *testing.T) {
	var yaml, csv strings.Builder
	yaml.WriteString("defaults: {target: 'zrh:', tags: [migrated]}\nitems:\n")
	csv.WriteString("source,target,name\n")
	for i := range 10_000 {
		fmt.Fprintf(&yaml, "  - source: images/%d.img\n    name: server-%d\n", i, i)
		fmt.Fprintf(&csv, "images/%d.img,zrh:,server-%d\n", i, i)
	}
	for name, text := range map[string]string{"plan.yaml": yaml.String(), "plan.csv": csv.String()} {
		began := time.Now()
		p, err := writePlan(t, name, text)
		took := time.Since(began)
		t.Logf("%s read in %s", name, took)
		if err != nil || len(p.Lines) != 10_000 || took > 10*time.Second {
			t.Errorf("%s: got %v after %s, want 10,000 lines in seconds", name, err, took)
		}
	}
}

// FuzzPlan: any text is a plan or an error.
func FuzzPlan(f *testing.F) {
	f.Add([]byte(plan), true)
	f.Add([]byte("source,target\na,z:\n"), false)
	f.Fuzz(func(t *testing.T, text []byte, yaml bool) {
		parse := parseCSV
		if yaml {
			parse = parseYAML
		}
		if p, err := parse(text); err == nil && p == nil {
			t.Error("got neither a plan nor an error")
		}
	})
}

// TestCellsOfReportsAreNoFormulas: a spreadsheet shows them as text.
func TestCellsOfReportsAreNoFormulas(t *testing.T) {
	b := &transfer.Batch{Items: []transfer.BatchItem{{
		Kind: transfer.Upload, Source: "=cmd|' /C calc'!A0", Target: "+1", Name: "-2+3", Drive: "@SUM(1)",
		Error: &transfer.Failure{Message: "a, \"b\"\nc", Hint: "\t=1"},
	}}}
	var text strings.Builder
	if err := WriteCSV(&text, b); err != nil {
		t.Fatal(err)
	}
	want := "kind,source,target,name,state,drive,bytes,seconds,job,error,remedy\n" +
		"upload,'=cmd|' /C calc'!A0,'+1,'-2+3,,'@SUM(1),0,0.0,,\"a, \"\"b\"\"\nc\",'\t=1\n"
	if got := text.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	text.Reset()
	if err := WriteMarkdown(&text, b); err != nil {
		t.Fatal(err)
	}
	if got := text.String(); strings.Count(got, "\n") != 3 || !strings.Contains(got, `=cmd\|' /C`) {
		t.Errorf("got %q, want one row with quoted bars", got)
	}
}
