package app_test

import (
	"crypto"
	"encoding/json"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"genkan/internal/devidp"
)

// The plans of the logout specifications. In the suite's modules the user has signed
// out at Genkan before the logout token arrives, so that Genkan's answer alone is judged.
// Here a second browser stays signed in, and shows what the same kind of token does to it.

func rpInitiatedPlan() plan {
	p := logoutPlan(func(c *devidp.Client, public string) {
		c.BackchannelURI, c.FrontchannelURI = public+"/bff/backchannel", public+"/bff/frontchannel"
	})
	p.modules = []module{
		{name: "oidcc-client-test-rp-init-logout", also: and(signOut("/bff/session"), told(http.StatusOK))},
		{name: "oidcc-client-test-rp-init-logout-other-state", also: and(
			returnedState(func(v url.Values) { v.Set("state", v.Get("state")+"_INVALID") }), signOut("/"), told(http.StatusOK))},
		{name: "oidcc-client-test-rp-init-logout-no-state", also: and(
			returnedState(func(v url.Values) { v.Del("state") }), signOut("/"), told(http.StatusOK))},
	}
	return p
}

func backChannelPlan() plan {
	p := logoutPlan(func(c *devidp.Client, public string) { c.BackchannelURI = public + "/bff/backchannel" })
	p.modules = []module{{name: "oidcc-client-test-rp-backchannel-rpinitlogout", also: logoutToken(http.StatusOK)}}
	for name, change := range map[string]func(*devidp.JWT){
		"alg-none": func(t *devidp.JWT) {
			t.Header["alg"] = "none"
			t.Sign = func(crypto.Signer, []byte) ([]byte, error) { return nil, nil }
		},
		"no-event":   func(t *devidp.JWT) { delete(t.Claims, "events") },
		"with-nonce": func(t *devidp.JWT) { t.Claims["nonce"] = "logout_tokens_must_not_contain_a_nonce" },
		// A good signature with a published key, only not by the algorithm agreed on.
		"wrong-alg": func(t *devidp.JWT) { t.SignAs("ES256") },
		"wrong-aud": func(t *devidp.JWT) { t.Claims["aud"] = t.Claims["aud"].(string) + "INVALID" },
		"wrong-event": func(t *devidp.JWT) {
			t.Claims["events"] = map[string]any{"http://schemas.openid.net/event/foobar": map[string]any{}}
		},
		"wrong-iss": func(t *devidp.JWT) { t.Claims["iss"] = t.Claims["iss"].(string) + "INVALID" },
	} {
		p.modules = append(p.modules, module{
			name: "oidcc-client-test-rp-backchannel-rpinitlogout-" + name, faults: []devidp.Fault{{LogoutToken: change}},
			verdict: "refused", also: logoutToken(http.StatusBadRequest),
		})
	}
	return p
}

func frontChannelPlan() plan {
	p := logoutPlan(func(c *devidp.Client, public string) { c.FrontchannelURI = public + "/bff/frontchannel" })
	p.modules = []module{{name: "oidcc-client-test-rp-frontchannel-rpinitlogout", also: and(signOut("/bff/session"), framed)}}
	return p
}

// furtherLogoutPlan is oidcc-client-logout-test-plan, without what other plans have too.
func furtherLogoutPlan() plan {
	p := frontChannelPlan()
	p.modules = []module{{name: "oidcc-client-test-rp-frontchannel-opinitlogout", also: endedByFrame}}
	return p
}

// logoutPlan is the ground of the logout plans: a sid in the ID token, session_state in
// the authorization response, and logout tokens as the suite makes them, without typ and
// with a claim that nobody knows.
func logoutPlan(register func(c *devidp.Client, public string)) plan {
	p := basicPlan()
	return plan{
		settings: p.settings, calls: p.calls,
		idp: func(c *devidp.Config, public string) {
			p.idp(c, public)
			register(&c.Clients[0], public)
		},
		faults: []devidp.Fault{
			metadata(without("revocation_endpoint", "authorization_response_iss_parameter_supported")),
			redirect(func(v url.Values) { v.Del("iss"); v.Set("session_state", "x.y") }),
			body("/token", without("expires_in", "scope", "refresh_token")),
			{LogoutToken: func(t *devidp.JWT) {
				delete(t.Header, "typ")
				t.Claims["ignored_claim"] = "claims that are not understood must be ignored"
			}},
		},
	}
}

// signOut signs out from Genkan's side and has the browser end at the app's path.
func signOut(end string) func(*trial) {
	return func(x *trial) {
		x.t.Helper()
		x.suite.forget()
		status, body := x.browser.fetch(http.MethodPost, x.base+"/bff/logout?returnUrl=/bff/session")
		var out struct{ URL string }
		if json.Unmarshal([]byte(body), &out); status != http.StatusOK || out.URL == "" {
			x.t.Fatalf("sign-out: %d %.500s", status, body)
		}
		x.browser.navigate(http.MethodGet, out.URL, nil)
		x.goThroughFrames()
		if x.browser.page.url != x.base+end || x.browser.page.status != http.StatusOK || x.session().Authenticated {
			x.t.Errorf("the browser ended at %s", x.browser.page)
		}
		received := x.suite.received("/logout")
		if got := x.suite.called(); !slices.Equal(got, []string{"/logout"}) {
			x.t.Fatalf("the provider was asked for %v", got)
		}
		asked := received[0].query
		for name, values := range received[0].form {
			asked[name] = values
		}
		if asked.Get("post_logout_redirect_uri") != x.base+"/bff/logout/callback" || !slices.Contains(x.suite.idp.Issued(), asked.Get("id_token_hint")) || asked.Get("state") == "" {
			x.t.Errorf("end_session_endpoint got %v", asked)
		}
	}
}

// returnedState changes the address that the provider sends the browser back to.
func returnedState(change func(url.Values)) func(*trial) {
	return func(x *trial) {
		x.suite.on("/logout", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			answer := httptest.NewRecorder()
			next.ServeHTTP(answer, r)
			body := goOnLink.ReplaceAllStringFunc(answer.Body.String(), func(link string) string {
				target, err := url.Parse(html.UnescapeString(goOnLink.FindStringSubmatch(link)[1]))
				if err != nil {
					x.t.Error(err)
				}
				query := target.Query()
				change(query)
				target.RawQuery = query.Encode()
				return `<a id="go-on" href="` + html.EscapeString(target.String()) + `">`
			})
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(body))
		})
	}
}

var (
	frame    = regexp.MustCompile(`<iframe src="([^"]*)"`)
	goOnLink = regexp.MustCompile(`<a id="go-on" href="([^"]*)">`)
)

// goThroughFrames loads the frames of the provider's page, if that is where the browser
// is, and goes on from there as its script does.
func (x *trial) goThroughFrames() {
	x.t.Helper()
	here := x.browser.page
	for _, src := range frame.FindAllStringSubmatch(here.body, -1) {
		x.browser.frame(html.UnescapeString(src[1]))
		x.checkFrame()
		x.frames++
	}
	x.browser.page = here
	if link := goOnLink.FindStringSubmatch(here.body); link != nil {
		x.browser.navigate(http.MethodGet, html.UnescapeString(link[1]), nil)
	}
}

// frame loads address as a frame of another site does.
func (b *browser) frame(address string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header = http.Header{"Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"iframe"}, "Sec-Fetch-Site": {"cross-site"}}
	b.page = b.do(r)
}

// checkFrame holds the frame that the browser has loaded to Front-Channel Logout 1.0, 2:
// the provider alone may frame it, and nobody keeps it.
func (x *trial) checkFrame() {
	x.t.Helper()
	p := x.browser.page
	issuer := strings.TrimSuffix(x.suite.issuer, issuerPath+"/")
	if p.status != http.StatusOK || !strings.Contains(p.header.Get("Content-Security-Policy"), "frame-ancestors "+issuer) ||
		p.header.Get("X-Frame-Options") != "" || !strings.Contains(p.header.Get("Cache-Control"), "no-store") {
		x.t.Errorf("the frame: %d %v", p.status, p.header)
	}
}

// told holds Genkan's answer to the one logout token to status.
func told(status int) func(*trial) {
	return func(x *trial) {
		x.t.Helper()
		answers := x.suite.told()
		if len(answers) != 1 {
			x.t.Fatalf("%d logout tokens were delivered, want 1", len(answers))
		}
		if answers[0].status != status || !strings.Contains(answers[0].header.Get("Cache-Control"), "no-store") {
			x.t.Errorf("the logout token got %d with Cache-Control %q, want %d with no-store", answers[0].status, answers[0].header.Get("Cache-Control"), status)
		}
	}
}

// logoutToken is a back-channel module: sign-out, with a logout token before the browser
// comes back; then one for the whole user, of whom another browser is signed in.
func logoutToken(status int) func(*trial) {
	return func(x *trial) {
		x.t.Helper()
		elsewhere := newBrowser(x.t)
		x.signIn(elsewhere)
		signOut("/bff/session")(x)
		told(status)(x)
		if !x.sessionOf(elsewhere).Authenticated {
			x.t.Error("a token with a sid ended another session")
		}
		x.suite.idp.EndSession("dev-user-alice-7f3a", "")
		if signedIn := x.sessionOf(elsewhere).Authenticated; signedIn != (status != http.StatusOK) {
			x.t.Errorf("after a token for the whole user that got %d, signed in: %v", status, signedIn)
		}
	}
}

// framed says that signOut has gone through a frame.
func framed(x *trial) {
	if x.frames != 1 {
		x.t.Errorf("%d frames", x.frames)
	}
}

// endedByFrame signs out at the provider: the frame, which has no cookie, ends the session
// that iss and sid name, and no other.
func endedByFrame(x *trial) {
	x.t.Helper()
	issued := x.suite.idp.Issued()
	token := issued[slices.IndexFunc(issued, func(token string) bool { return readJWT(token).claims["sid"] != nil })]
	other := newBrowser(x.t) // at the provider, without Genkan's cookies
	other.navigate(http.MethodGet, strings.TrimSuffix(x.suite.issuer, "/")+"/logout?id_token_hint="+url.QueryEscape(token), nil)
	frames := frame.FindAllStringSubmatch(other.page.body, -1)
	if len(frames) != 1 {
		x.t.Fatalf("%d frames in %.1000s", len(frames), other.page.body)
	}
	src := html.UnescapeString(frames[0][1])
	for _, wrong := range []string{strings.Replace(src, "sid=", "sid=x", 1), strings.Replace(src, "iss=", "iss=x", 1)} {
		other.frame(wrong)
		x.browser.frame(wrong) // which has the cookie
		if !x.session().Authenticated {
			x.t.Fatalf("%s ended the session", wrong)
		}
	}
	other.frame(src)
	(&trial{t: x.t, suite: x.suite, base: x.base, browser: other}).checkFrame()
	if x.session().Authenticated {
		x.t.Error("the session goes on")
	}
}
