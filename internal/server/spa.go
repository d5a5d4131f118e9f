package server

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"

	"genkan/internal/origin"
)

// appPolicy is the Content-Security-Policy of the browser app: its own files and
// its own API, nothing inline, no frame, and only Vue may make trusted HTML.
const appPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'; " +
	"require-trusted-types-for 'script'; trusted-types vue"

const indexFile = "index.html"

// spa is the browser app's files, read once.
type spa struct{ files map[string]file }

type file struct {
	data  []byte
	kind  string // Content-Type
	etag  string
	cache string
}

// maxFiles and maxSize, in bytes together, bound what an app folder may hold, so that
// a wrong spa.dir (a home folder) is an error and not a full memory.
const maxFiles, maxSize = 10_000, 64 << 20

var errFiles = errors.New("server: spa: too many or too large files; is spa.dir the app's build folder?")

// newSPA reads all files below root. Without an index.html it serves nothing.
func newSPA(root fs.FS) (*spa, error) {
	s, size := &spa{files: map[string]file{}}, int64(0)
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.HasPrefix(path.Base(name), ".") {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if size += info.Size(); len(s.files) >= maxFiles || size > maxSize {
			return errFiles
		}
		data, err := fs.ReadFile(root, name)
		s.files[name] = newFile(name, data)
		return err
	})
	return s, err
}

func newFile(name string, data []byte) file {
	sum := sha256.Sum256(data)
	f := file{data: data, kind: mime.TypeByExtension(path.Ext(name)), cache: "no-cache",
		etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
	if f.kind == "" {
		f.kind = "application/octet-stream"
	}
	if strings.HasPrefix(name, "assets/") { // named by their contents
		f.cache = "public, max-age=31536000, immutable"
	}
	return f
}

// serve answers with a file, or, for a page load of a path that names no file, with
// the app (history fallback). false: not for the app.
func (s *spa) serve(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	if name == "" {
		name = indexFile
	}
	f, ok := s.files[name]
	if !ok && origin.Navigation(r) && route(name) {
		name = indexFile
		f, ok = s.files[name]
	}
	if !ok {
		return false
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", f.cache)
	h.Set("ETag", f.etag)
	if path.Ext(name) == ".html" {
		h.Set("Content-Security-Policy", appPolicy)
	}
	if r.Header.Get("If-None-Match") == f.etag {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = w.Write(f.data)
	}
	return true
}

// route reports whether a path may be the app's own: no file, nothing hidden or
// well-known, no API.
func route(name string) bool {
	return path.Ext(name) == "" && !strings.Contains("/"+name, "/.") && !strings.HasPrefix(name+"/", "api/")
}
