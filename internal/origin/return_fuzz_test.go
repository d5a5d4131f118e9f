package origin_test

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// FuzzReturn: whatever comes in, a browser that follows the result stays on a
// configured origin, and the result is plain ASCII that means the same when it is
// taken apart again.
func FuzzReturn(f *testing.F) {
	for _, raw := range refusedReturns {
		f.Add(raw)
	}
	for _, row := range acceptedReturns {
		f.Add(row[0])
	}
	site := returnSite(f)
	ours := []string{"http://localhost:8000", "https://app.example.com:8443", "http://[::1]:8000", "http://localhost:5173", "https://app.example.com"}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := site.Return(raw)
		if err != nil {
			if got != "" {
				t.Fatalf("Return(%q) = %q beside an error", raw, got)
			}
			return
		}
		if strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r > '~' }) || len(got) > 2048 {
			t.Fatalf("Return(%q) = %q: not a bounded header value", raw, got)
		}
		to := browse("http://localhost:8000", got)
		if !slices.Contains(ours, to.origin) {
			t.Fatalf("Return(%q) = %q leads a browser to %q", raw, got, to.origin)
		}
		if strings.HasPrefix(to.path, "//") {
			t.Fatalf("Return(%q) = %q is the path %q, which as a Location of its own leads elsewhere", raw, got, to.path)
		}
		if raw != "" {
			// The input itself, too, would have led there.
			if direct := browse("http://localhost:8000", raw); direct.ascii() && direct.origin != to.origin {
				t.Fatalf("Return(%q) = %q, but a browser takes the input to %q", raw, got, direct.origin)
			}
		}
		if again, err := site.Return(got); err != nil || again != got {
			t.Fatalf("Return(%q) = %q, then %q, %v", raw, got, again, err)
		}
	})
}

// place is where a browser ends up.
type place struct{ origin, path string }

func (p place) ascii() bool {
	return !strings.ContainsFunc(p.origin, func(r rune) bool { return r > '~' })
}

// browse resolves a URL against an origin's root the way the URL standard's state
// machine does, as far as it decides the origin and the start of the path. It shares
// nothing with the code under test.
func browse(base, text string) place {
	text = strings.TrimFunc(text, func(r rune) bool { return r <= ' ' })
	text = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(text)
	baseScheme, _, _ := strings.Cut(base, ":")
	scheme, rest := baseScheme, text
	if s, after, ok := cutScheme(text); ok {
		scheme, rest = s, after
		if scheme != "http" && scheme != "https" {
			return place{scheme + ": something else", ""}
		}
	}
	if scheme == baseScheme && (len(rest) < 2 || !slash(rest[0]) || !slash(rest[1])) {
		return browseRelative(base, rest)
	}
	for rest != "" && slash(rest[0]) {
		rest = rest[1:]
	}
	end := strings.IndexAny(rest, `/\?#`)
	if end < 0 {
		end = len(rest)
	}
	host, path := rest[:end], rest[end:]
	host = strings.ToLower(host[strings.LastIndexByte(host, '@')+1:])
	if plain, err := url.PathUnescape(host); err == nil {
		host = plain
	}
	if port := map[string]string{"http": ":80", "https": ":443"}[scheme]; strings.HasSuffix(host, port) {
		host = strings.TrimSuffix(host, port)
	}
	if bracket := strings.LastIndexByte(host, ']'); bracket > 0 && host[0] == '[' {
		if addr, err := netip.ParseAddr(host[1:bracket]); err == nil {
			host = "[" + addr.String() + host[bracket:]
		}
	}
	return place{scheme + "://" + host, browsePath(path)}
}

func browseRelative(base, text string) place {
	if text == "" || !slash(text[0]) {
		text = "/" + text
	}
	return place{base, browsePath(text)}
}

// browsePath drops dot segments, also encoded ones.
func browsePath(path string) string {
	path, _, _ = strings.Cut(path, "#")
	path, _, _ = strings.Cut(path, "?")
	segments := strings.Split(strings.ReplaceAll(path, `\`, "/"), "/")
	var kept []string
	for i, s := range segments[min(1, len(segments)):] {
		last := i == len(segments)-2
		switch strings.ReplaceAll(strings.ToLower(s), "%2e", ".") {
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		case ".":
		default:
			kept = append(kept, s)
			continue
		}
		if last {
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/")
}

func slash(c byte) bool { return c == '/' || c == '\\' }

// cutScheme cuts "name:" off.
func cutScheme(text string) (scheme, rest string, ok bool) {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	scheme, rest, ok = strings.Cut(text, ":")
	scheme = strings.ToLower(scheme)
	if !ok || scheme == "" || !strings.Contains(letters, scheme[:1]) || strings.Trim(scheme, letters+"0123456789+-.") != "" {
		return "", text, false
	}
	return scheme, rest, true
}
