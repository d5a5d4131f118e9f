package rp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	maxPages    = 20
	maxAllPages = 4 << 20 // bytes
)

// addGroups reads the groups that an ID token was too small for. When that fails, the
// sign-in or refresh goes on without groups: whoever decides by them then decides against.
func (c *Client) addGroups(ctx context.Context, tokens Tokens, id *Identity) {
	q := c.cfg.Quirks.Overage
	if len(q.Endpoints) == 0 || c.place("groups") != "groups" || c.holds(*id, "groups") || !q.left(*id) {
		return // with another place, it is not these that are wanted
	}
	groups, err := c.readGroups(ctx, q, tokens)
	if err != nil {
		c.cfg.Logger.WarnContext(ctx, "groups are left out", "provider", c.cfg.ID, "finding", "groups_overage", "error", err)
		return
	}
	id.Claims["groups"], _ = json.Marshal(groups)
}

// left reports that the provider says it left groups out.
func (q Overage) left(id Identity) bool {
	if raw, ok := id.Claims[q.Flag]; ok && string(raw) == "true" {
		return true
	}
	elsewhere, _, _ := member[map[string]json.RawMessage](id.Claims, "_claim_names")
	_, ok := elsewhere["groups"]
	return ok
}

// first is the first page of the groups of an issuer's users.
func (q Overage) first(issuer string) (*url.URL, error) {
	for _, endpoint := range q.Endpoints {
		if matches(endpoint.Issuer, issuer) {
			return url.Parse(endpoint.First)
		}
	}
	return nil, errors.New("it is not known where the groups of this issuer are")
}

// readGroups follows the pages of the preset's endpoint, all within Config.Timeout.
func (c *Client) readGroups(ctx context.Context, q Overage, tokens Tokens) ([]string, error) {
	first, err := q.first(c.cfg.Issuer)
	if err != nil {
		return nil, err
	}
	if !c.tokenFits(first) {
		return nil, errors.New("the access token is for an API of your own and not for " + first.Host)
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	groups, size, next := []string{}, 0, first
	for range maxPages {
		body, err := c.groupPage(ctx, q, tokens, next)
		if err != nil {
			return nil, err
		}
		var page struct {
			Value []struct {
				ID string `json:"id"`
			} `json:"value"`
			Next string `json:"@odata.nextLink"`
		}
		if size += len(body); size > maxAllPages || json.Unmarshal(body, &page) != nil || page.Value == nil {
			return nil, fault("groups", "response", errors.New("it is not a list of groups, or too large"))
		}
		for _, group := range page.Value {
			groups = append(groups, group.ID)
		}
		if page.Next == "" || len(groups) >= maxListed {
			return groups, nil
		}
		if next, err = url.Parse(page.Next); err != nil || next.Scheme != first.Scheme || next.Host != first.Host || next.User != nil {
			return nil, fault("groups", "next", errors.New("the next page is not on "+first.Host))
		}
	}
	return nil, fault("groups", "pages", fmt.Errorf("there are more than %d pages", maxPages))
}

func (c *Client) groupPage(ctx context.Context, q Overage, tokens Tokens, page *url.URL) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page.String(), nil)
	if err != nil {
		return nil, fault("groups", "address", quiet(err))
	}
	if err := tokens.Authorize(req, "", c.cfg.Now()); err != nil {
		return nil, fault("groups", "dpop", err)
	}
	req.Header.Set("Accept", "application/json")
	for name, value := range q.Header {
		req.Header.Set(name, value)
	}
	got, err := c.do("groups", req)
	if err == nil && (got.status != http.StatusOK || got.mediaType != "application/json") {
		err = fault("groups", "status", fmt.Errorf("HTTP %d %s", got.status, clean(got.mediaType)))
	}
	return got.body, err
}

// tokenFits reports whether the access token can be for the host of endpoint. It is for
// another API as soon as a scope or resource of one is asked for, and must not go there.
func (c *Client) tokenFits(endpoint *url.URL) bool {
	own := func(name string) bool {
		return strings.Contains(name, "/") && !strings.HasPrefix(name, endpoint.Scheme+"://"+endpoint.Host+"/")
	}
	return !slices.ContainsFunc(c.cfg.Scopes, own) && !slices.ContainsFunc(c.cfg.Resource, own)
}
