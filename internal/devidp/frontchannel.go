package devidp

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// frontchannelPage carries the frames of Front-Channel Logout 1.0, 3, and where to go on
// to afterwards; empty is nowhere.
type frontchannelPage struct {
	Frames []string
	Target string
}

// frames are the URIs to be loaded for the clients that took part, with iss and sid.
func (p *Provider) frames(left []participant) []string {
	var frames []string
	for _, x := range left {
		client, _ := p.client(x.client)
		target, err := url.Parse(client.FrontchannelURI)
		if client.FrontchannelURI == "" || err != nil {
			continue
		}
		query := url.Values{"iss": {p.Issuer()}, "sid": {x.sid}}
		if target.RawQuery != "" { // kept as it is
			target.RawQuery += "&"
		}
		target.RawQuery += query.Encode()
		frames = append(frames, target.String())
	}
	return frames
}

// frontchannel answers with the page of frames.
func (p *Provider) frontchannel(w http.ResponseWriter, frames []string, target string) {
	var origins []string
	for _, frame := range frames {
		if u, err := url.Parse(frame); err == nil {
			origins = append(origins, u.Scheme+"://"+u.Host)
		}
	}
	slices.Sort(origins)
	w.Header().Set("Content-Security-Policy", pagePolicy+"; frame-src "+strings.Join(slices.Compact(origins), " "))
	p.page(w, http.StatusOK, "front-channel", frontchannelPage{frames, target})
}
