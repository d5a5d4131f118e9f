package config

import (
	"encoding/json"
	"strings"
)

// schema is a JSON Schema, or a part of one.
type schema map[string]any

// Schema returns the JSON Schema (2020-12) of a settings file, for editors.
func Schema() []byte {
	root := objectSchema(settings)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Genkan settings"
	properties := root["properties"].(schema)
	properties["providers"] = schema{
		"description": "OpenID providers; the first is the default one.", "type": []string{"array", "null"}, "items": elementSchema(providerRows),
	}
	properties["upstreams"] = schema{
		"description": "Services behind Genkan.", "type": []string{"array", "null"}, "items": elementSchema(upstreamRows),
	}
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil { // maps of strings always marshal
		panic(err)
	}
	return append(out, '\n')
}

// elementSchema is objectSchema with the settings that every element must have. What
// the environment can add to the first provider is not among them.
func elementSchema[T any](rows []row[T]) schema {
	s := objectSchema(rows)
	var must []string
	for _, r := range rows {
		if r.required && r.env == "" {
			must = append(must, r.key)
		}
	}
	s["required"] = must
	return s
}

// objectSchema nests settings by the dots of their keys.
func objectSchema[T any](rows []row[T]) schema {
	root := emptyObject("object")
	for _, r := range rows {
		at, path := root, strings.Split(r.key, ".")
		for _, group := range path[:len(path)-1] {
			properties := at["properties"].(schema)
			if properties[group] == nil {
				properties[group] = emptyObject([]string{"object", "null"})
			}
			at = properties[group].(schema)
		}
		properties, last := at["properties"].(schema), path[len(path)-1]
		properties[last] = r.schema()
		if r.secret {
			properties[last+"_file"] = schema{"description": "File to read " + r.key + " from.", "type": []string{"string", "null"}}
		}
	}
	return root
}

func emptyObject(kind any) schema {
	return schema{"type": kind, "additionalProperties": false, "properties": schema{}}
}

// schema describes one setting. Wherever a single value stands, ${NAME} may.
func (s setting) schema() schema {
	out := schema{"description": s.doc}
	variable := schema{"type": "string", "pattern": `\$\{`}
	null := schema{"type": "null"}
	single := schema{"type": "string"}
	if len(s.oneOf) > 0 {
		single = schema{"enum": s.oneOf}
	}
	switch s.shape {
	case boolean:
		out["anyOf"] = []schema{{"type": "boolean"}, variable, null}
	case duration:
		out["anyOf"] = []schema{{"type": "string", "pattern": `^(0|([0-9.]+(ns|us|ms|s|m|h))+)$`}, variable, null}
	case size:
		out["anyOf"] = []schema{{"type": "string", "pattern": sizeForm.String()}, {"type": "integer", "minimum": 1}, variable, null}
	case number:
		out["anyOf"] = []schema{{"type": "integer", "minimum": 0, "maximum": maxCount}, variable, null}
	case list:
		out["anyOf"] = []schema{{"type": "array", "items": schema{"anyOf": []schema{single, variable}}}, {"type": "string", "description": "comma-separated"}, null}
	case pairs:
		out["type"], out["additionalProperties"] = []string{"object", "null"}, schema{"type": []string{"string", "number", "boolean"}}
	case lists:
		some := schema{"anyOf": []schema{{"type": "array", "items": schema{"type": []string{"string", "number", "boolean"}}}, {"type": []string{"string", "number", "boolean"}}}}
		out["type"], out["additionalProperties"] = []string{"object", "null"}, some
	default:
		out["anyOf"] = []schema{single, variable, null}
	}
	if s.def != "" {
		out["default"] = s.defaultJSON()
	}
	if s.example != "" && s.shape != pairs && s.shape != lists {
		out["examples"] = []string{s.example}
	}
	return out
}

func (s setting) defaultJSON() any {
	switch s.shape {
	case list:
		return splitList(s.def)
	case boolean:
		return s.def == "true"
	case number:
		return json.Number(s.def)
	}
	return s.def
}
