package devidp

import (
	"bytes"
	"context"
	"crypto/rsa"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	notifyTimeout = 3 * time.Second
	notifyAtOnce  = 8
)

// outgoing is what the provider keeps to send requests to its clients.
type outgoing struct {
	client  *http.Client
	parties *shelf[participant] // guarded by the provider's lock
	rogue   func() *rsa.PrivateKey
}

func newOutgoing(c Config) outgoing {
	transport := c.Transport
	if transport == nil {
		transport = &http.Transport{DisableKeepAlives: true} // and no proxy
	}
	return outgoing{
		client: &http.Client{
			Timeout: notifyTimeout, Transport: transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		parties: newShelf[participant](c.Now, maxGrants),
		// rogue is a key that is published nowhere. It takes a while to make.
		rogue: sync.OnceValue(func() *rsa.PrivateKey { return mustRSA(2048) }),
	}
}

// Notice is a message that was sent to a client, and its answer. Status is 0 when there
// was none; Error then says why.
type Notice struct {
	Client string `json:"client"`
	URI    string `json:"uri"`
	Status int    `json:"status"`
	Error  string `json:"error,omitempty"`
}

// message is a request to a client that has yet to be sent.
type message struct {
	client, uri string
	contentType string
	bearer      string // may be empty
	body        []byte
}

// send delivers the messages side by side, each within three seconds. Notices are in the
// order of messages.
func (p *Provider) send(messages []message) []Notice {
	notices := make([]Notice, len(messages))
	places := make(chan struct{}, notifyAtOnce)
	var all sync.WaitGroup
	for i, m := range messages {
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			notices[i] = Notice{Client: m.client, URI: m.uri}
			status, err := p.deliver(m)
			if notices[i].Status = status; err != nil {
				notices[i].Error = err.Error()
			}
		})
	}
	all.Wait()
	return notices
}

// deliver does not end with the browser's request: who logs out and closes the window is
// logged out everywhere.
func (p *Provider) deliver(m message) (int, error) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, m.uri, bytes.NewReader(m.body))
	if err != nil {
		return 0, fmt.Errorf("devidp: notify: %w", err)
	}
	r.Header.Set("Content-Type", m.contentType)
	if m.bearer != "" {
		r.Header.Set("Authorization", "Bearer "+m.bearer)
	}
	response, err := p.out.client.Do(r)
	if err != nil {
		return 0, fmt.Errorf("devidp: notify: %w", err)
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, maxBody))
	return response.StatusCode, err
}
