package rp

import (
	"errors"
	"io"
	"mime"
	"net/http"
)

const (
	maxBody      = 1 << 20 // of any answer, after decompression
	maxRedirects = 3
)

// answer is what came back, whole.
type answer struct {
	status    int
	header    http.Header
	mediaType string // without parameters; empty when missing or malformed
	body      []byte
}

// do sends one request. A redirect that may not be followed comes back as its 3xx.
func (c *Client) do(op string, req *http.Request) (answer, error) { return send(c.http, op, req) }

// doAs is do as this client: with its certificate where that is how it authenticates.
func (c *Client) doAs(md *metadata, op string, req *http.Request) (answer, error) {
	if md.mutualTLS() {
		return send(c.mtls, op, req)
	}
	return send(c.http, op, req)
}

func send(client *http.Client, op string, req *http.Request) (answer, error) {
	req.Header.Set("User-Agent", "genkan")
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, fault(op, "unreachable", quiet(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return answer{}, fault(op, "unreachable", quiet(err))
	}
	if len(body) > maxBody {
		return answer{}, fault(op, "too_large", errors.New("the answer is larger than 1 MiB"))
	}
	mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		mediaType = ""
	}
	return answer{resp.StatusCode, resp.Header, mediaType, body}, nil
}

// sameOriginOnly follows a GET within its origin, since some providers redirect to a
// trailing slash. Elsewhere could be an internal address or plain http, and a POST
// sent on would hand code, verifier and secret to whoever the redirect names. A DPoP proof
// is for one address and one use (RFC 9449 4.2).
func sameOriginOnly(req *http.Request, via []*http.Request) error {
	first := via[0]
	if first.Method != http.MethodGet || first.Header.Get("DPoP") != "" || len(via) > maxRedirects || req.URL.User != nil ||
		req.URL.Scheme != first.URL.Scheme || req.URL.Host != first.URL.Host {
		return http.ErrUseLastResponse
	}
	return nil
}
