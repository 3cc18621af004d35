package batch

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/transferd/transferd/internal/transfer"
)

// maxNodes bounds the nodes of a plan after its aliases are replaced by what they stand for: a
// small file can have aliases of aliases that stand for more than any memory holds.
const maxNodes = 4_000_000

// parseYAML reads a plan: a mapping of defaults and items.
func parseYAML(b []byte) (p *Plan, err error) {
	defer func() { // the library panics on some texts that are not YAML
		if v := recover(); v != nil {
			p, err = nil, invalid("write it as in transferctl batch run --help", "it is not YAML: %v", v)
		}
	}()
	file, err := parser.ParseBytes(b, 0)
	if err != nil {
		return nil, yamlError(err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, invalid("write items: and below it a list", "it has no items, or several documents")
	}
	r := yamlReader{anchors: make(map[string]ast.Node)}
	return r.plan(file.Docs[0].Body)
}

// yamlReader reads the nodes of a plan.
type yamlReader struct {
	anchors map[string]ast.Node
	nodes   int // visited
	depth   int // of merge keys
}

// maxDepth is how deep merge keys (<<) may be nested.
const maxDepth = 16

func (r *yamlReader) plan(body ast.Node) (*Plan, error) {
	fields, err := r.mapping(body)
	if err != nil {
		return nil, err
	}
	p := new(Plan)
	var defaults Options
	var items ast.Node
	for _, f := range fields {
		switch f.key {
		case "defaults":
			if defaults, err = r.words(f.value); err != nil {
				return nil, err
			}
		case "items":
			items = f.value
		default:
			return nil, at(f.value, invalid("the keys are defaults and items", "%q is not a key of a plan", f.key))
		}
	}
	list, err := r.sequence(items)
	if err != nil {
		return nil, err
	}
	for _, node := range list {
		own, err := r.words(node)
		if err != nil {
			return nil, err
		}
		l, err := newLine(lineText(lineOf(node)), own, defaults)
		if err != nil {
			return nil, err
		}
		if p.Lines = append(p.Lines, l); len(p.Lines) > MaxItems {
			return nil, invalid("divide the plan", "it has more than %d items", MaxItems)
		}
	}
	return p, nil
}

// field is a key of a mapping with its value.
type field struct {
	key   string
	value ast.Node
}

// words reads the options of an item, or the defaults.
func (r *yamlReader) words(n ast.Node) (Options, error) {
	fields, err := r.mapping(n)
	if err != nil {
		return nil, err
	}
	words := make(Options)
	for _, f := range fields {
		word := canonical(f.key)
		if err := checkWord(word); err != nil {
			return nil, at(f.value, err)
		}
		if words[word], err = r.values(word, f.value); err != nil {
			return nil, err
		}
	}
	return words, nil
}

// values reads the values of a word: a scalar, a list of scalars or, of labels, a mapping.
func (r *yamlReader) values(word string, n ast.Node) (values []string, err error) {
	n, err = r.resolve(n)
	if err != nil {
		return nil, err
	}
	switch v := n.(type) {
	case *ast.NullNode:
		return nil, nil
	case *ast.SequenceNode:
		for _, element := range v.Values {
			text, err := r.scalar(element)
			if err != nil {
				return nil, err
			}
			values = append(values, text)
		}
		return values, nil
	case *ast.MappingNode, *ast.MappingValueNode:
		if word != "labels" {
			return nil, at(n, invalid("write one value, or a list: [a, b]", "%s: the value has the wrong form", word))
		}
		fields, err := r.mapping(n)
		if err != nil {
			return nil, err
		}
		for _, f := range fields {
			text, err := r.scalar(f.value)
			if err != nil {
				return nil, err
			}
			values = append(values, f.key+"="+text)
		}
		return values, nil
	}
	one, err := r.scalar(n)
	return []string{one}, err
}

func (r *yamlReader) scalar(n ast.Node) (string, error) {
	n, err := r.resolve(n)
	if err != nil {
		return "", err
	}
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, nil
	case *ast.LiteralNode:
		return strings.TrimRight(v.Value.Value, "\n"), nil
	case ast.ScalarNode:
		return n.GetToken().Value, nil // as it is written: 007 stays 007
	}
	return "", at(n, invalid("write text on one line", "the value has the wrong form"))
}

func (r *yamlReader) sequence(n ast.Node) ([]ast.Node, error) {
	n, err := r.resolve(n)
	if err != nil {
		return nil, err
	}
	if s, ok := n.(*ast.SequenceNode); ok {
		return s.Values, nil
	}
	return nil, at(n, invalid("write items: and below it a list, each item with source and target",
		"items is not a list"))
}

func (r *yamlReader) mapping(n ast.Node) (fields []field, err error) {
	n, err = r.resolve(n)
	if err != nil {
		return nil, err
	}
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	case *ast.NullNode:
		return nil, nil
	default:
		return nil, at(n, invalid("write its keys as KEY: VALUE, one on each line", "the value has the wrong form"))
	}
	for _, v := range values {
		if _, merge := v.Key.(*ast.MergeKeyNode); merge {
			if r.depth++; r.depth > maxDepth {
				return nil, errTooManyNodes
			}
			merged, err := r.mapping(v.Value)
			if err != nil {
				return nil, err
			}
			r.depth--
			r.nodes += len(merged)
			fields = append(merged, fields...)
			continue
		}
		fields = append(fields, field{v.Key.GetToken().Value, v.Value})
	}
	return fields, nil
}

var errTooManyNodes = invalid("write fewer aliases", "its aliases stand for more than a plan may hold")

// resolve returns the node that an alias, an anchor or a tag stands for.
func (r *yamlReader) resolve(n ast.Node) (ast.Node, error) {
	for {
		if r.nodes++; r.nodes > maxNodes {
			return nil, errTooManyNodes
		}
		switch v := n.(type) {
		case nil:
			return nil, invalid("write items: and below it a list", "it has no items")
		case *ast.AnchorNode:
			r.anchors[v.Name.GetToken().Value] = v.Value
			n = v.Value
		case *ast.TagNode:
			n = v.Value
		case *ast.AliasNode:
			name := v.Value.GetToken().Value
			target, ok := r.anchors[name]
			if !ok {
				return nil, at(v, invalid("define it before with &"+name, "the alias *%s has no anchor", name))
			}
			n = target
		default:
			return n, nil
		}
	}
}

func lineOf(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}

// at is err with the line of a node.
func at(n ast.Node, err error) error {
	return transfer.Errorf(transfer.CodeInvalid, hintOf(err), "%s: %w", lineText(lineOf(n)), err)
}

// yamlError is an error of the YAML library in one line.
func yamlError(err error) error {
	var e yaml.Error
	if errors.As(err, &e) && e.GetToken() != nil && e.GetToken().Position != nil {
		return invalid("", "%s: %s", lineText(e.GetToken().Position.Line), e.GetMessage())
	}
	first, _, _ := strings.Cut(fmt.Sprint(err), "\n")
	return invalid("", "%s", first)
}
