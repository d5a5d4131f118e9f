package origin_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"genkan/internal/origin"
)

// TestNavigation: contract section 5. Headers as browsers were seen to send them.
func TestNavigation(t *testing.T) {
	t.Parallel()
	const html = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	tests := map[string]struct {
		method string
		header map[string]string
		want   bool
	}{
		"typed address":               {"GET", map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "none", "Accept": html}, true},
		"link from another site":      {"GET", map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "cross-site"}, true},
		"HEAD of a page":              {"HEAD", map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, true},
		"mode without dest":           {"GET", map[string]string{"Sec-Fetch-Mode": "navigate"}, true},
		"iframe":                      {"GET", map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe", "Accept": html}, false},
		"frame":                       {"GET", map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "frame"}, false},
		"object":                      {"GET", map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "object"}, false},
		"embed":                       {"GET", map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "embed"}, false},
		"form POST":                   {"POST", map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": html}, false},
		"fetch":                       {"GET", map[string]string{"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Accept": "*/*"}, false},
		"fetch that accepts HTML":     {"GET", map[string]string{"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Accept": html}, false},
		"fetch without cors":          {"GET", map[string]string{"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "empty", "Accept": html}, false},
		"image":                       {"GET", map[string]string{"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, false},
		"script":                      {"GET", map[string]string{"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}, false},
		"socket":                      {"GET", map[string]string{"Sec-Fetch-Mode": "websocket", "Upgrade": "websocket"}, false},
		"unknown mode":                {"GET", map[string]string{"Sec-Fetch-Mode": "banana", "Accept": html}, false},
		"mode in upper case":          {"GET", map[string]string{"Sec-Fetch-Mode": "Navigate", "Accept": html}, false},
		"old browser":                 {"GET", map[string]string{"Accept": html}, true},
		"old browser, upper case":     {"GET", map[string]string{"Accept": "Text/HTML"}, true},
		"old browser, HEAD":           {"HEAD", map[string]string{"Accept": html}, true},
		"old browser, form POST":      {"POST", map[string]string{"Accept": html}, false},
		"old browser, fetch":          {"GET", map[string]string{"Accept": "*/*"}, false},
		"old browser, JSON":           {"GET", map[string]string{"Accept": "application/json"}, false},
		"old browser, HTML by XHR":    {"GET", map[string]string{"Accept": html, "X-Requested-With": "XMLHttpRequest"}, false},
		"old Android web view":        {"GET", map[string]string{"Accept": html, "X-Requested-With": "com.example.app"}, true},
		"old browser, cross-origin":   {"GET", map[string]string{"Accept": html, "Origin": "https://evil.example"}, false},
		"old browser, the app's call": {"GET", map[string]string{"Accept": html, "X-CSRF": "1"}, false},
		"old browser, socket":         {"GET", map[string]string{"Accept": html, "Upgrade": "websocket"}, false},
		"curl":                        {"GET", map[string]string{"Accept": "*/*", "User-Agent": "curl/8"}, false},
		"nothing":                     {"GET", nil, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := origin.Navigation(request(tt.method, tt.header)); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestNavigationReadsEveryAccept(t *testing.T) {
	t.Parallel()
	r := request("GET", nil)
	r.Header["Accept"] = []string{"application/xml", "text/html"}
	if !origin.Navigation(r) {
		t.Error("the second Accept header was not read")
	}
}

func TestPrefetch(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		header map[string]string
		want   bool
	}{
		"prefetch":           {map[string]string{"Sec-Purpose": "prefetch"}, true},
		"prerender":          {map[string]string{"Sec-Purpose": "prefetch;prerender"}, true},
		"by a proxy":         {map[string]string{"Sec-Purpose": "prefetch;anonymous-client-ip"}, true},
		"old Chromium":       {map[string]string{"Purpose": "prefetch"}, true},
		"old Firefox":        {map[string]string{"X-Moz": "prefetch"}, true},
		"click":              {map[string]string{"Sec-Fetch-Mode": "navigate"}, false},
		"another purpose":    {map[string]string{"Sec-Purpose": "preview"}, false},
		"the word elsewhere": {map[string]string{"Referer": "https://example.com/prefetch"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := origin.Prefetch(request("GET", tt.header)); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func request(method string, header map[string]string) *http.Request {
	r := httptest.NewRequest(method, "http://localhost:8000/", nil)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	return r
}
