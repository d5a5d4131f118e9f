package origin_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"genkan/internal/origin"
)

// TestMeasured: a pair of origins is accepted in silence exactly when real browsers
// were seen to let it work, and then with attributes that were seen to work.
func TestMeasured(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/measured.txt")
	if err != nil {
		t.Fatal(err)
	}
	pairs := 0
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if fields[0] == "#" {
			continue
		}
		pairs++
		app, api, works := fields[0], fields[1], fields[2] == "works"
		c := origin.Config{TrustedProxies: true}
		if api == "same" {
			c.PublicURLs = origins(t, app)
		} else {
			c.PublicURLs, c.SPAOrigins = origins(t, api), origins(t, app)
		}
		p, found := origin.New(c)
		if (p != nil) != works || (len(found) == 0) != works || found.Failed() == works {
			t.Errorf("%s calls %s, which %s: policy %v, findings %v", app, api, fields[2], p != nil, found)
		}
		if p == nil {
			continue
		}
		session := p.Canonical().Session().Set("v", time.Hour)
		https := strings.HasPrefix(c.PublicURLs[0].String(), "https:")
		if session.SameSite != http.SameSiteStrictMode || session.Secure != https || strings.HasPrefix(session.Name, "__Host-") != https {
			t.Errorf("%s calls %s: %s was not measured to work", app, api, session)
		}
	}
	if pairs != 36 {
		t.Errorf("%d pairs were read", pairs)
	}
}
