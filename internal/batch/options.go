package batch

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// Options are words of a plan with their values. A word has the meaning of the flag of that name.
type Options map[string][]string

const (
	wordSource = "source"
	wordTarget = "target"
)

// option is a word that items of a plan may have besides source and target.
type option struct {
	list bool // it takes several values
	// fits reports whether a spec takes it. A default that does not fit is left out; an item's own
	// word is an error.
	fits func(s *transfer.Spec) bool
	set  func(s *transfer.Spec, values []string) error
}

// options are all words. Commands have flags of the same names, with a dash for the underscore, and
// tag and label for the lists.
var options = map[string]option{
	"name":              {fits: newDrive, set: text(func(s *transfer.Spec) *string { return &s.Name })},
	"size":              {fits: newDrive, set: size(func(s *transfer.Spec) *int64 { return &s.Size })},
	"tags":              {true, newDrive, func(s *transfer.Spec, v []string) error { s.Tags = v; return nil }},
	"readers":           {true, newDrive, func(s *transfer.Spec, v []string) error { s.Readers = v; return nil }},
	"sha256":            {fits: isUpload, set: text(func(s *transfer.Spec) *string { return &s.SHA256 })},
	"sha256_url":        {fits: isUpload, set: text(func(s *transfer.Spec) *string { return &s.SHA256URL })},
	"follow":            {fits: isUpload, set: flag(func(s *transfer.Spec) *bool { return &s.Follow })},
	"spool":             {fits: isUpload, set: text(func(s *transfer.Spec) *string { return &s.Spool })},
	"format":            {fits: hasImage, set: text(func(s *transfer.Spec) *string { return (*string)(&s.Format) })},
	"overwrite":         {fits: hasImage, set: flag(func(s *transfer.Spec) *bool { return &s.Overwrite })},
	"keep_tail":         {fits: hasImage, set: flag(func(s *transfer.Spec) *bool { return &s.KeepTail })},
	"allow_short":       {fits: isUpload, set: flag(func(s *transfer.Spec) *bool { return &s.AllowShort })},
	"no_holes":          {fits: isUpload, set: flag(func(s *transfer.Spec) *bool { return &s.NoHoles })},
	"allow_mounted":     {fits: isUpload, set: flag(func(s *transfer.Spec) *bool { return &s.AllowMounted })},
	"mode":              {fits: readsDrive, set: text(func(s *transfer.Spec) *string { return (*string)(&s.Mode) })},
	"quiesce_timeout":   {fits: readsDrive, set: duration(quiesceTimeout)},
	"force_stop":        {fits: readsDrive, set: flag(func(s *transfer.Spec) *bool { return &s.ForceStop })},
	"allow_new_address": {fits: readsDrive, set: flag(func(s *transfer.Spec) *bool { return &s.AllowNewAddress })},
	"verify":            {fits: always, set: text(func(s *transfer.Spec) *string { return (*string)(&s.Verify) })},
	"compression":       {fits: always, set: setCompression},
	"concurrency":       {fits: always, set: setConcurrency},
	"chunk_size":        {fits: always, set: setChunkSize},
	"limit_rate":        {fits: always, set: size(func(s *transfer.Spec) *int64 { return &s.LimitRate })},
	"image_sha256":      {fits: always, set: flag(func(s *transfer.Spec) *bool { return &s.ImageDigest })},
	"queue":             {fits: always, set: text(func(s *transfer.Spec) *string { return &s.Queue })},
	"priority":          {fits: always, set: text(func(s *transfer.Spec) *string { return (*string)(&s.Priority) })},
	"deadline":          {fits: always, set: duration(func(s *transfer.Spec) *transfer.Seconds { return &s.Deadline })},
	"labels":            {true, always, setLabels},
}

// canonical is a word as the table has it: in lower case, with underscores; tag and label are tags
// and labels.
func canonical(word string) string {
	word = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(word)), "-", "_")
	switch word {
	case "tag", "label", "reader":
		return word + "s"
	case "targets":
		return wordTarget
	}
	return word
}

// checkWord refuses unknown words.
func checkWord(word string) error {
	if _, ok := options[word]; ok || word == wordSource || word == wordTarget {
		return nil
	}
	known := append([]string{wordSource, wordTarget}, slices.Sorted(maps.Keys(options))...)
	near := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return !transfer.Resembles(k, word) })
	hint := "the words are " + strings.Join(known, ", ")
	if len(near) > 0 {
		hint = "use " + strings.Join(near, " or ")
	}
	return invalid(hint, "%q is not a word of a plan", word)
}

// apply sets the options of a layer on a spec. If strict is false, it leaves out those that do not
// fit.
func (o Options) apply(s *transfer.Spec, strict bool) error {
	for _, word := range slices.Sorted(maps.Keys(o)) {
		opt, ok := options[word]
		values := o[word]
		switch {
		case !ok || len(values) == 0: // source and target
			continue
		case !opt.fits(s) && !strict:
			continue
		case !opt.fits(s):
			return invalid("leave it out", "%s: does not fit the %s of this item", word, s.Kind)
		case !opt.list && len(values) > 1:
			return invalid("write one value", "%s: there are several values", word)
		}
		if err := opt.set(s, values); err != nil {
			return transfer.Errorf(transfer.CodeInvalid, hintOf(err), "%s: %w", word, err)
		}
	}
	return nil
}

func always(*transfer.Spec) bool       { return true }
func newDrive(s *transfer.Spec) bool   { return s.Target.IsDrive() && s.Target.Drive == "" }
func readsDrive(s *transfer.Spec) bool { return s.Source.IsDrive() }
func hasImage(s *transfer.Spec) bool   { return s.Kind != transfer.Clone }

func isUpload(s *transfer.Spec) bool { return s.Kind == transfer.Upload }

func quiesceTimeout(s *transfer.Spec) *transfer.Seconds { return &s.QuiesceTimeout }

func text(field func(*transfer.Spec) *string) func(*transfer.Spec, []string) error {
	return func(s *transfer.Spec, v []string) error {
		*field(s) = v[0]
		return nil
	}
}

func size(field func(*transfer.Spec) *int64) func(*transfer.Spec, []string) error {
	return func(s *transfer.Spec, v []string) (err error) {
		*field(s), err = transfer.ParseSize(v[0])
		return err
	}
}

func flag(field func(*transfer.Spec) *bool) func(*transfer.Spec, []string) error {
	return func(s *transfer.Spec, v []string) error {
		switch strings.ToLower(v[0]) {
		case "true", "yes", "1", "on":
			*field(s) = true
		case "false", "no", "0", "off":
			*field(s) = false
		default:
			return invalid("write true or false", "%q is neither true nor false", v[0])
		}
		return nil
	}
}

func duration(field func(*transfer.Spec) *transfer.Seconds) func(*transfer.Spec, []string) error {
	return func(s *transfer.Spec, v []string) error {
		d, err := transfer.ParseDuration(v[0])
		*field(s) = transfer.Seconds(d)
		return err
	}
}

func setCompression(s *transfer.Spec, v []string) (err error) {
	s.Compression, err = transfer.ParseCompression(v[0])
	return err
}

func setConcurrency(s *transfer.Spec, v []string) error {
	if v[0] == "auto" {
		s.Concurrency = 0
		return nil
	}
	n, err := strconv.Atoi(v[0])
	if err != nil || n < 1 {
		return invalid("use auto, or a number of chunks", "%q is not a concurrency", v[0])
	}
	s.Concurrency = n
	return nil
}

func setChunkSize(s *transfer.Spec, v []string) error {
	n, err := transfer.ParseSize(v[0])
	s.ChunkSize = int(min(n, 2*transfer.MaxChunkSize)) // too large stays too large in an int
	return err
}

// setLabels adds labels to those of the layers below.
func setLabels(s *transfer.Spec, v []string) error {
	labels := maps.Clone(s.Labels)
	if labels == nil {
		labels = make(map[string]string)
	}
	for _, label := range v {
		key, value, ok := strings.Cut(label, "=")
		if !ok {
			return invalid("write KEY=VALUE", "%q is not a label", label)
		}
		labels[key] = value
	}
	s.Labels = labels
	return nil
}

// Add adds the values of a flag or word, if it is a word of a plan.
func (o Options) Add(name string, values []string) {
	word := canonical(name)
	if _, ok := options[word]; ok {
		o[word] = values
	}
}

// Change sets the options on a spec, except those that do not fit it.
func (o Options) Change(s *transfer.Spec) error { return o.apply(s, false) }
