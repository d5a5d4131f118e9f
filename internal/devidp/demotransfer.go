package devidp

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strconv"
)

// maxTransfer bounds what /download sends and /upload takes: 2 GiB.
const maxTransfer = 2 << 30

// period is prime, so that a piece that is lost or comes twice shows.
const period = 251

// download sends as many bytes as were asked for. Byte i is i modulo 251.
func (a *DemoAPI) download(w http.ResponseWriter, r *http.Request) {
	left, err := strconv.ParseInt(r.URL.Query().Get("bytes"), 10, 64)
	if err != nil || left < 0 || left > maxTransfer {
		apiJSON(w, http.StatusBadRequest, map[string]any{"error": "bytes must be a number up to 2147483648"})
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="download.bin"`)
	w.Header().Set("Content-Length", strconv.FormatInt(left, 10))
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		return
	}
	chunk := make([]byte, 256*period)
	for i := range chunk {
		chunk[i] = byte(i % period)
	}
	for left > 0 {
		n, err := w.Write(chunk[:min(left, int64(len(chunk)))])
		if err != nil {
			return
		}
		left -= int64(n)
	}
}

// upload answers with the size of the body and its SHA-256, and keeps nothing of it.
func (a *DemoAPI) upload(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	var n int64
	var err error
	if r.ContentLength <= maxTransfer { // else it is known already
		n, err = io.Copy(sum, r.Body)
	}
	var tooLong *http.MaxBytesError
	switch {
	case r.ContentLength > maxTransfer || errors.As(err, &tooLong):
		apiJSON(w, http.StatusRequestEntityTooLarge, map[string]any{"error": "the body is longer than 2147483648 bytes"})
	case err != nil:
		apiJSON(w, http.StatusBadRequest, map[string]any{"error": "the body broke off", "bytes": n})
	default:
		apiJSON(w, http.StatusOK, map[string]any{"bytes": n, "sha256": hex.EncodeToString(sum.Sum(nil))})
	}
}
