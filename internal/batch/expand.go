package batch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/endpoints"
	"github.com/transferd/transferd/internal/image"
	"github.com/transferd/transferd/internal/transfer"
)

// Expand makes the items of a plan. What it cannot resolve becomes a finding. It returns an error
// only if it cannot go on, such as when ctx ends.
func (p *Planner) Expand(ctx context.Context, plan *Plan) error {
	p.items, p.findings, p.drives = nil, nil, make(map[string]*driveList)
	matches, err := p.match(ctx, plan)
	if err != nil {
		return err
	}
	for i := range plan.Lines {
		l := &plan.Lines[i]
		for _, source := range p.sources(ctx, l, i, matches) {
			for _, target := range l.Targets { // a job for each, until one job can have several targets
				p.add(ctx, l, i, source, target)
			}
		}
		if len(p.items) > MaxItems {
			return invalid("divide the plan", "it has more than %d items", MaxItems)
		}
	}
	p.findDuplicates()
	return ctx.Err()
}

// Fingerprint identifies what the plan does: two plans with the same items have the same one.
func (p *Planner) Fingerprint() string {
	keys := make([]string, len(p.items))
	for i := range p.items {
		keys[i] = p.items[i].key
	}
	slices.Sort(keys)
	return digest(keys...)
}

func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// isPattern reports whether a source is a pattern of file names.
func (p *Planner) isPattern(source string) bool {
	_, _, drive := p.endpointOf(source)
	return !drive && !(transfer.Ref{Path: source}).IsURL() && image.IsPattern(source)
}

// endpointOf divides the address of a drive, or of several.
func (p *Planner) endpointOf(address string) (endpoint, rest string, ok bool) {
	endpoint, rest, ok = strings.Cut(address, ":")
	return endpoint, rest, ok && p.IsEndpoint(endpoint) && !strings.HasPrefix(rest, "//")
}

// match finds the files of all patterns, on the hosts that serve the queues of their items.
func (p *Planner) match(ctx context.Context, plan *Plan) (map[*Line]transfer.FileReport, error) {
	queries, lines := make(map[string][]transfer.FileQuery), make(map[string][]*Line)
	for i := range plan.Lines {
		l := &plan.Lines[i]
		if !p.isPattern(l.Source) {
			continue
		}
		abs, err := filepath.Abs(l.Source)
		if err != nil {
			return nil, err
		}
		queue := p.queueOf(l)
		queries[queue] = append(queries[queue], transfer.FileQuery{Pattern: abs})
		lines[queue] = append(lines[queue], l)
	}
	found := make(map[*Line]transfer.FileReport)
	for queue, list := range queries {
		reports, err := p.Inspector(queue).Inspect(ctx, list)
		if err != nil {
			p.find(transfer.SeverityError, nil, err)
			continue
		}
		for i := range reports {
			found[lines[queue][i]] = reports[i]
		}
	}
	return found, ctx.Err()
}

// queueOf is the queue of the items of a line.
func (p *Planner) queueOf(l *Line) string {
	for _, layer := range []Options{l.Options, p.Typed, l.Defaults} {
		if v := layer["queue"]; len(v) > 0 {
			return v[0]
		}
	}
	return transfer.DefaultQueue
}

// sources resolves the source of a line: files that match a pattern, drives with a tag, or one
// source. It adds a finding if there is none.
func (p *Planner) sources(
	ctx context.Context, l *Line, line int, matches map[*Line]transfer.FileReport,
) []string {
	of := &item{line: line, where: l.Where, spec: transfer.Spec{Source: transfer.Ref{Path: l.Source}}}
	of.spec.Target.Path = strings.Join(l.Targets, ", ")
	endpoint, rest, drive := p.endpointOf(l.Source)
	switch {
	case p.isPattern(l.Source):
		report, asked := matches[l]
		switch {
		case !asked: // a finding says why
		case report.Error != nil:
			p.find(transfer.SeverityError, of, report.Error.Err())
		case len(report.Names) == 0:
			p.find(transfer.SeverityError, of, transfer.Errorf(transfer.CodeNotFound,
				"correct the pattern, or the folder that it is relative to", "no file matches %s", l.Source))
		}
		return report.Names
	case drive && (rest == "*" || strings.HasPrefix(rest, "tag=")):
		return p.drivesLike(ctx, of, endpoint, rest)
	}
	return []string{l.Source}
}

// drivesLike returns the addresses of all drives of an endpoint, or of those with a tag. It leaves
// out incomplete drives and clones that jobs have made.
func (p *Planner) drivesLike(ctx context.Context, of *item, endpoint, rest string) (addresses []string) {
	list := p.drivesOf(ctx, endpoint)
	tag, tagged := strings.CutPrefix(rest, "tag=")
	for _, d := range list.all {
		ours := slices.Contains(d.Tags, transfer.IncompleteTag) || transfer.ReaderOf(d.Tags) != ""
		if !ours && (!tagged || slices.Contains(d.Tags, tag)) {
			addresses = append(addresses, endpoint+":"+d.UUID)
		}
	}
	if len(addresses) == 0 && list.err == nil {
		p.find(transfer.SeverityError, of, transfer.Errorf(transfer.CodeNotFound,
			"transferctl drives list "+endpoint+": shows the drives and their tags",
			"no drive matches %s:%s", endpoint, rest))
	}
	return addresses
}

// add makes the item of a source and a target.
func (p *Planner) add(ctx context.Context, l *Line, line int, source, target string) {
	i := &item{line: line, where: l.Where, size: -1}
	i.spec.Source, i.spec.Target = transfer.Ref{Path: source}, transfer.Ref{Path: target} // for findings
	if err := p.resolve(ctx, i, source, target); err != nil {
		p.find(transfer.SeverityError, i, err)
	} else if !i.failed {
		if err := p.specify(i, l); err != nil {
			p.find(transfer.SeverityError, i, err)
		}
	}
	i.name = i.spec.Name
	if i.source != nil && i.name == "" && i.spec.Kind == transfer.Clone {
		i.name = i.source.Name
	}
	i.shown = transfer.BatchItem{
		Kind: i.spec.Kind, Source: i.spec.Source.Redacted(), Target: i.spec.Target.Redacted(), Name: i.name,
	}
	i.key = digest(string(i.spec.Kind), i.spec.Source.String(), i.spec.Target.String(), i.spec.Name)
	p.items = append(p.items, i)
}

// resolve finds the two ends of an item, and what it does.
func (p *Planner) resolve(ctx context.Context, i *item, source, target string) (err error) {
	for _, address := range []string{source, target} {
		if p.IsEndpoint(address) {
			return invalid("write "+address+": for the endpoint, or ./"+address+" for a file of that name",
				"%q is the name of an endpoint, and its colon is missing", address)
		}
		if name, rest, ok := strings.Cut(address, ":"); ok && transfer.ValidEndpointName(name) && !p.IsEndpoint(name) &&
			!strings.HasPrefix(rest, "//") && !strings.ContainsAny(rest, "/") {
			return invalid("add it to the config under `endpoints:`; for a file of this name write ./"+address,
				"there is no endpoint named %q", name)
		}
	}
	from, d, err := p.end(ctx, i, source)
	if err != nil {
		return err
	}
	i.source = d
	if _, rest, drive := p.endpointOf(source); drive && rest == "" {
		return invalid("write ENDPOINT:UUID, ENDPOINT:NAME, ENDPOINT:tag=T or ENDPOINT:*", "%s names no drive", source)
	}
	to, d, err := p.end(ctx, i, target)
	if err != nil {
		return err
	}
	i.target = d
	kind := transfer.Upload
	switch {
	case from.IsDrive() && to.IsDrive():
		kind = transfer.Clone
	case from.IsDrive():
		kind = transfer.Download
	}
	if from.IsStd() || to.IsStd() {
		return invalid("write the path of a file", "a batch has no standard input or output")
	}
	if !from.IsDrive() && !to.IsDrive() {
		return invalid("write ENDPOINT: as the source or the target", "neither end is a drive")
	}
	i.spec = transfer.NewSpec(kind, from, to)
	if i.source != nil {
		i.size = i.source.Size
	}
	return nil
}

// end parses one end of an item; d is the drive that it names, nil if it names none.
func (p *Planner) end(ctx context.Context, i *item, address string) (r transfer.Ref, d *Drive, err error) {
	endpoint, rest, drive := p.endpointOf(address)
	if !drive {
		folder := strings.HasSuffix(address, "/") && !(transfer.Ref{Path: address}).IsURL()
		if r, err = endpoints.Schemes.Parse(address); err == nil {
			r, err = r.Abs()
		}
		if folder {
			r.Path += "/" // specify adds the name of a file
		}
		return r, nil, err
	}
	r = transfer.Ref{Endpoint: endpoint}
	list := p.drivesOf(ctx, endpoint)
	if list.err != nil {
		i.failed = true // a finding says why
		return r, nil, nil
	}
	if rest == "" {
		return r, nil, nil
	}
	if uuid := strings.ToLower(rest); api.ValidUUID(uuid) {
		r.Drive = uuid
		if d = list.byUUID[uuid]; d == nil {
			return r, nil, transfer.Errorf(transfer.CodeNotFound,
				"transferctl drives list "+endpoint+": shows them", "%s has no drive %s", endpoint, uuid)
		}
		return r, d, nil
	}
	switch found := list.byName[rest]; len(found) {
	case 1:
		return transfer.Ref{Endpoint: endpoint, Drive: found[0].UUID}, found[0], nil
	case 0:
		return r, nil, transfer.Errorf(transfer.CodeNotFound,
			"transferctl drives list "+endpoint+": shows them", "%s has no drive named %q", endpoint, rest)
	default:
		return r, nil, invalid("write the UUID, such as "+endpoint+":"+found[0].UUID,
			"%s has %d drives named %q", endpoint, len(found), rest)
	}
}

// specify sets the options of an item, and checks its spec.
func (p *Planner) specify(i *item, l *Line) error {
	for _, layer := range []struct {
		options Options
		strict  bool
	}{{l.Defaults, false}, {p.Typed, false}, {l.Options, true}} {
		if err := layer.options.apply(&i.spec, layer.strict); err != nil {
			return err
		}
	}
	s := &i.spec
	s.Readers = api.ParseReaders(s.Readers)
	if s.Kind == transfer.Upload && newDrive(s) && s.Name == "" {
		s.Name = p.DriveName(s.Source)
	}
	if s.Kind == transfer.Download {
		if err := nameFile(s, i.source); err != nil {
			return err
		}
	}
	return endpoints.Schemes.Check(s)
}

// nameFile completes the target of a download: in a folder the file is named after the drive, and
// the format follows from the ending, unless it is given.
func nameFile(s *transfer.Spec, d *Drive) (err error) {
	if strings.HasSuffix(s.Target.Path, "/") {
		name := strings.Map(func(r rune) rune {
			if r < ' ' || r == '/' {
				return '_'
			}
			return r
		}, d.Name)
		if name == "" || strings.HasPrefix(name, ".") {
			name = d.UUID
		}
		ending := ".img"
		switch s.Format {
		case "", transfer.FormatRaw:
		case transfer.FormatQcow2:
			ending = ".qcow2"
		default:
			ending += "." + string(s.Format)
		}
		s.Target.Path = filepath.Join(s.Target.Path, name+ending)
	}
	s.Format, err = image.FormatOfName(s.Target.Path, s.Format)
	return err
}

// findDuplicates finds items that write the same target.
func (p *Planner) findDuplicates() {
	first := make(map[string]*item)
	for _, i := range p.items {
		if i.failed {
			continue
		}
		target := i.spec.Target.String()
		if newDrive(&i.spec) {
			target += i.name
		}
		if other, ok := first[target]; ok {
			p.find(transfer.SeverityError, i, invalid("give one of them another name or target",
				"%s is also the target of %s", describeTarget(i), other.text()))
			continue
		}
		first[target] = i
	}
}

func describeTarget(i *item) string {
	if newDrive(&i.spec) {
		return fmt.Sprintf("a drive named %q on %s", i.name, i.spec.Target.Endpoint)
	}
	return i.spec.Target.Redacted()
}
