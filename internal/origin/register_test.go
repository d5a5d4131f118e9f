package origin_test

import (
	"testing"

	"genkan/internal/origin"
)

// TestAddressesToRegister: what people type into a provider's form must not change by
// itself. 268: none has a fragment.
func TestAddressesToRegister(t *testing.T) {
	t.Parallel()
	for prefix, base := range map[string]string{"": "https://app.example.com:8443/bff", "/auth": "https://app.example.com:8443/auth"} {
		public, err := origin.Parse("https://app.example.com:8443")
		if err != nil {
			t.Fatal(err)
		}
		p, found := origin.New(origin.Config{PublicURLs: []origin.Origin{public}, Prefix: prefix})
		if p == nil {
			t.Fatal(found)
		}
		s := p.Canonical()
		for got, want := range map[string]string{
			s.RedirectURI(): "/callback", s.PostLogoutRedirectURI(): "/logout/callback", s.BackchannelURI(): "/backchannel",
			s.FrontchannelURI(): "/frontchannel", s.GlobalRevocationURI(): "/global-token-revocation",
		} {
			if got != base+want {
				t.Errorf("%s, want %s", got, base+want)
			}
		}
	}
}
