package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"html"
)

// browser does what the measured browsers do with cookies and navigations, as far as
// sign-in needs it: cookies by host whatever the port, HttpOnly, SameSite by the site
// that began a navigation, redirects that keep the mark of having come from elsewhere.
type browser struct {
	t        testing.TB
	mu       sync.Mutex
	jar      map[string]map[string]*http.Cookie // by host, by name
	client   *http.Client
	seen     strings.Builder // every header and body received
	received []*http.Cookie
}

type page struct {
	url    *url.URL
	status int
	header http.Header
	body   string
}

func newBrowser(t testing.TB) *browser {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		_, port, _ := net.SplitHostPort(address) // every name is this machine
		return dialer.DialContext(ctx, "tcp4", "127.0.0.1:"+port)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{
		t: t, jar: map[string]map[string]*http.Cookie{},
		client: &http.Client{Transport: transport, Timeout: 20 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// open navigates to address. from is the page whose link or script does it; "" is a
// typed address.
func (b *browser) open(address, from string) page {
	b.t.Helper()
	return b.navigate(http.MethodGet, address, from, nil)
}

// submit posts a form as a navigation.
func (b *browser) submit(address, from string, form url.Values) page {
	b.t.Helper()
	return b.navigate(http.MethodPost, address, from, form)
}

func (b *browser) navigate(method, address, from string, form url.Values) page {
	b.t.Helper()
	current := address
	site := "none"
	for range 20 {
		u := b.parse(current)
		if from != "" {
			site = worse(site, relation(b.parse(from), u))
		}
		r, err := http.NewRequestWithContext(b.t.Context(), method, current, strings.NewReader(form.Encode()))
		if err != nil {
			b.t.Fatal(err)
		}
		r.Header.Set("Accept", "text/html,application/xhtml+xml")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Dest", "document")
		r.Header.Set("Sec-Fetch-Site", site)
		if method == http.MethodPost {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Origin", originOf(b.parse(from)))
		}
		b.attach(r, site == "cross-site", method == http.MethodPost)
		p := b.send(r)
		location := p.header.Get("Location")
		if p.status < 300 || p.status > 399 || location == "" {
			return p
		}
		next, err := u.Parse(location)
		if err != nil {
			b.t.Fatal(err)
		}
		if p.status != http.StatusTemporaryRedirect && p.status != http.StatusPermanentRedirect {
			method, form = http.MethodGet, nil
		}
		from, current = current, next.String()
	}
	b.t.Fatal("twenty redirects")
	return page{}
}

var continueLink = regexp.MustCompile(`<a[^>]*id="continue"[^>]*>`)
var href = regexp.MustCompile(`href="([^"]*)"`)

// goOn does what the script of a page of Genkan's does: replace the location by that
// of the link, from the page's own origin.
func (b *browser) goOn(p page) page {
	b.t.Helper()
	link := continueLink.FindString(p.body)
	if link == "" {
		return p
	}
	target, err := p.url.Parse(html.UnescapeString(href.FindStringSubmatch(link)[1]))
	if err != nil {
		b.t.Fatal(err)
	}
	return b.open(target.String(), p.url.String())
}

// fetch calls address as a script of the app at appOrigin does.
func (b *browser) fetch(method, address, appOrigin string) page {
	b.t.Helper()
	u := b.parse(address)
	r, err := http.NewRequestWithContext(b.t.Context(), method, address, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	site := relation(b.parse(appOrigin), u)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Sec-Fetch-Mode", "cors")
	r.Header.Set("Sec-Fetch-Dest", "empty")
	r.Header.Set("Sec-Fetch-Site", site)
	r.Header.Set("X-CSRF", "1")
	if site != "same-origin" || method != http.MethodGet {
		r.Header.Set("Origin", appOrigin)
	}
	b.attach(r, site == "cross-site", true)
	return b.send(r)
}

func (b *browser) parse(address string) *url.URL {
	b.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		b.t.Fatal(err)
	}
	return u
}

// attach adds the cookies that SameSite lets through.
func (b *browser) attach(r *http.Request, crossSite, notTopLevelGet bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.jar[r.URL.Hostname()] {
		if crossSite && (c.SameSite == http.SameSiteStrictMode || c.SameSite == http.SameSiteLaxMode && notTopLevelGet) {
			continue
		}
		r.AddCookie(c)
	}
}

func (b *browser) send(r *http.Request) page {
	b.t.Helper()
	r.Header.Set("User-Agent", agentLinux)
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Fprintln(&b.seen, resp.Header, string(body))
	host := r.URL.Hostname()
	b.received = append(b.received, resp.Cookies()...)
	for _, c := range resp.Cookies() {
		if b.jar[host] == nil {
			b.jar[host] = map[string]*http.Cookie{}
		}
		switch {
		case c.MaxAge < 0:
			delete(b.jar[host], c.Name)
		case c.SameSite == http.SameSiteNoneMode && !c.Secure:
			b.t.Errorf("a browser refuses %s", c)
		default:
			b.jar[host][c.Name] = c
		}
	}
	return page{r.URL, resp.StatusCode, resp.Header, string(body)}
}

// cookies of a host, by name.
func (b *browser) cookies(host string) map[string]*http.Cookie {
	b.mu.Lock()
	defer b.mu.Unlock()
	copied := map[string]*http.Cookie{}
	for name, c := range b.jar[host] {
		copied[name] = c
	}
	return copied
}

func (b *browser) forget(host string) { b.mu.Lock(); defer b.mu.Unlock(); delete(b.jar, host) }

func relation(from, to *url.URL) string {
	switch {
	case originOf(from) == originOf(to):
		return "same-origin"
	case from.Scheme == to.Scheme && from.Hostname() == to.Hostname():
		return "same-site"
	}
	return "cross-site"
}

func worse(a, b string) string {
	order := map[string]int{"none": 0, "same-origin": 1, "same-site": 2, "cross-site": 3}
	if order[a] > order[b] {
		return a
	}
	return b
}

func originOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

var inputTag = regexp.MustCompile(`<input[^>]*>`)
var nameAttr = regexp.MustCompile(`name="([^"]*)"`)
var valueAttr = regexp.MustCompile(`value="([^"]*)"`)

// inputs are the names and values of a page's form fields.
func inputs(body string) (list [][2]string) {
	for _, tag := range inputTag.FindAllString(body, -1) {
		name, value := nameAttr.FindStringSubmatch(tag), valueAttr.FindStringSubmatch(tag)
		if name != nil && value != nil {
			list = append(list, [2]string{html.UnescapeString(name[1]), html.UnescapeString(value[1])})
		}
	}
	return list
}
