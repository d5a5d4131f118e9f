package access

import "strings"

// quickTexts reads the JSON of a string, or of a list of strings, in visible ASCII without
// escapes, at a sixth of the cost: nearly every claim is one, and each call asks for some.
// ok is false for all else, which is for encoding/json to read.
func quickTexts(raw string) (texts []string, ok bool) {
	for i := range len(raw) {
		if c := raw[i]; c < ' ' || c > '~' || c == '\\' {
			return nil, false
		}
	}
	parts := strings.Split(raw, `"`) // the texts are every second one
	last := len(parts) - 1
	if last < 2 || last%2 != 0 {
		return nil, false
	}
	switch begin, end := strings.Trim(parts[0], " "), strings.Trim(parts[last], " "); {
	case begin == "" && end == "" && last == 2:
	case begin == "[" && end == "]":
	default:
		return nil, false
	}
	texts = parts[:0]
	for i := 1; i < last; i += 2 {
		if i > 1 && strings.Trim(parts[i-1], " ") != "," {
			return nil, false
		}
		texts = append(texts, parts[i])
	}
	return texts, true
}
