package config

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"genkan/internal/finding"
)

const (
	maxFile = 1 << 20 // bytes of a settings file
	// maxTokens bounds the work of the parser, whose time grows with the square of
	// the number of keys.
	maxTokens = 20_000
	maxDepth  = 16  // levels on one line; settings need five in all
	maxIndent = 100 // columns
)

// quoted is more than one character in quotes.
var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.){2,}"`)

var errTooLarge = errors.New("it is too large")

type nodeKind int

const (
	empty nodeKind = iota
	scalar
	sequence
	mapping
)

func (k nodeKind) String() string {
	return [...]string{"nothing", "one value", "a list", "a mapping"}[k]
}

// node is a YAML value and its line. Types of scalars are ours to decide, so their
// text is kept as written.
type node struct {
	kind    nodeKind
	text    string
	items   []node
	entries []entry
	line    int
}

type entry struct {
	key   string
	line  int
	value node
}

// yamlReader turns the library's tree into nodes.
type yamlReader struct {
	file  string
	found finding.Findings
}

// readYAML parses one document. The result counts only if nothing was found.
func readYAML(file string, data []byte) (node, finding.Findings) {
	r := &yamlReader{file: file}
	text := strings.TrimPrefix(string(data), "\ufeff")
	tokens := lexer.Tokenize(text)
	if len(tokens) > maxTokens {
		r.refuse(lineOf(tokens[maxTokens]), "it holds more than any settings do", "Remove what is no setting.")
		return node{}, r.found
	}
	if line := tooDeep(tokens); line > 0 {
		r.refuse(line, "it is nested too deeply", "Settings need no more than five levels.")
		return node{}, r.found
	}
	tree, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		// The library's text quotes the lines around, and its message what it
		// read, and both may hold a secret.
		line, message := 1, "it is not valid YAML"
		if syntax, ok := err.(interface {
			GetMessage() string
			GetToken() *token.Token
		}); ok {
			line, message = lineOf(syntax.GetToken()), "it is not valid YAML: "+quoted.ReplaceAllString(syntax.GetMessage(), "…")
		}
		r.refuse(line, message, "")
		return node{}, r.found
	}
	var root node
	for _, doc := range tree.Docs {
		if doc.Body == nil {
			continue
		}
		if root.kind != empty {
			r.refuse(lineOf(doc.Body.GetToken()), "a second document begins here", "Use one file for each, with --config twice.")
			break
		}
		root = r.node(doc.Body, 0)
	}
	return root, r.found
}

func (r *yamlReader) refuse(line int, detail, fix string) {
	r.found = append(r.found, finding.SettingUnread.New(r.file+":"+strconv.Itoa(line), detail, fix))
}

// tooDeep finds a line that opens more levels than any settings file needs, so that
// the parser, which recurses, is never given it. Levels on lines of their own cost
// indentation.
func tooDeep(tokens token.Tokens) (line int) {
	flow, dashes, last := 0, 0, 0
	for _, t := range tokens {
		at := lineOf(t)
		if at != last {
			dashes, last = 0, at
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			dashes++
		}
		if flow > maxDepth || dashes > maxDepth || t.Position != nil && t.Position.IndentNum > maxIndent {
			return max(at, 1)
		}
	}
	return 0
}

func lineOf(t *token.Token) int {
	if t == nil || t.Position == nil {
		return 1
	}
	return t.Position.Line
}

func (r *yamlReader) node(n ast.Node, depth int) node {
	out := node{kind: scalar, line: lineOf(n.GetToken())}
	if depth > maxDepth {
		r.refuse(out.line, "it is nested too deeply", "Settings need no more than five levels.")
		return node{}
	}
	switch n := n.(type) {
	case *ast.NullNode:
		out.kind = empty
	case *ast.StringNode:
		out.text = n.Value
	case *ast.LiteralNode:
		out.text = n.Value.Value
	case *ast.MappingNode:
		out.kind, out.entries = mapping, r.entries(n.Values, depth)
	case *ast.MappingValueNode:
		out.kind, out.entries = mapping, r.entries([]*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		out.kind = sequence
		for _, item := range n.Values {
			out.items = append(out.items, r.node(item, depth+1))
		}
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		out.text = n.GetToken().Value
	default: // anchors, aliases and tags: a settings file is read, not computed
		r.refuse(out.line, "it uses a YAML anchor, alias, merge key or tag", "Write the value out.")
		return node{}
	}
	if out.kind == scalar && out.text == "" {
		out.kind = empty
	}
	return out
}

func (r *yamlReader) entries(values []*ast.MappingValueNode, depth int) []entry {
	var out []entry
	lines := map[string]int{}
	for _, v := range values {
		line := lineOf(v.Key.GetToken())
		key, ok := v.Key.(*ast.StringNode)
		if !ok {
			r.refuse(line, "a key is not a plain word", "")
			continue
		}
		if before := lines[key.Value]; before > 0 {
			r.refuse(line, fmt.Sprintf("the key %s stands here and at line %d", quote(key.Value), before), "Remove one of the two.")
			continue
		}
		lines[key.Value] = line
		out = append(out, entry{key.Value, line, r.node(v.Value, depth+1)})
	}
	return out
}
