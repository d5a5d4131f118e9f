package redisstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"genkan/internal/session"
)

// A tag is a sorted set whose members are the keys of rows, each with the nonce of one
// Save, scored by when the row is over in any case. In a Cluster a tag and its rows are on
// different servers, so no script changes both: a Save enters its own members first, then
// writes the row, and then takes out the members of the Save before. A crash in between
// leaves members without a row, which Find skips and time removes; never a row without
// its members. Since no two Saves share a member, a late removal harms nobody.
const (
	// skew is how far the clocks of Genkan's and Redis' machines may be apart before a
	// row ends, or a tag loses members, too early.
	skew = time.Hour
	// page bounds the members, and batch the rows, that Find asks for at once.
	page, batch = 1000, 100
)

func newNonce() string {
	var nonce [nonceEnd - expiresEnd]byte
	_, _ = rand.Read(nonce[:]) // never fails, crypto/rand since Go 1.24
	return string(nonce[:])
}

func (s *Store) tagKey(tag session.Tag) string { return s.prefix + ":t:" + hex.EncodeToString(tag[:]) }

// enter adds the members of a row that is about to be written.
func (s *Store) enter(ctx context.Context, c rueidis.Client, row session.Row, e entry) error {
	ends := row.Expires.UnixMilli()
	args := []string{
		string(row.Key[:]) + e.nonce,
		strconv.FormatInt(ends, 10),
		strconv.FormatInt(s.now().Add(-skew).UnixMilli(), 10),
		strconv.FormatInt(max(1, ends+skew.Milliseconds()), 10),
	}
	entered := make(chan error, len(e.tags))
	for _, tag := range e.tags {
		go func() { entered <- s.write(ctx, c, s.scripts.enter, s.tagKey(tag), args...).Error() }()
	}
	var err error
	for range e.tags {
		err = errors.Join(err, <-entered)
	}
	return err
}

// leave removes members that no row has any more. What it fails to remove, time does.
func (s *Store) leave(ctx context.Context, c rueidis.Client, key session.Key, e entry) {
	var removals rueidis.Commands
	for _, tag := range e.tags {
		removals = append(removals, c.B().Zrem().Key(s.tagKey(tag)).Member(string(key[:])+e.nonce).Build())
	}
	c.DoMulti(ctx, removals...)
}

// Find implements session.Store.
func (s *Store) Find(ctx context.Context, tags []session.Tag, limit int) ([]session.Row, error) {
	return do(ctx, s, "find", func(ctx context.Context, c rueidis.Client) ([]session.Row, error) {
		f := &search{Store: s, client: c, now: s.now(), tags: setOf(tags), limit: limit, met: map[session.Key]bool{}}
		for _, tag := range f.tags {
			f.cursors = append(f.cursors, &cursor{tag: tag, from: math.MaxInt64, count: min(max(limit, 16), page)})
		}
		for len(f.cursors) > 0 && len(f.rows) < limit {
			if err := f.turn(ctx); err != nil {
				return nil, err
			}
		}
		return f.rows, nil
	})
}

// search is one Find.
type search struct {
	*Store
	client  rueidis.Client
	now     time.Time
	tags    []session.Tag
	limit   int
	cursors []*cursor // of tags that may have more members
	met     map[session.Key]bool
	rows    []session.Row
}

// cursor walks through the members of a tag by their score, not by their place, which
// shifts when others are removed: downwards, since the members whose rows have idled out
// are among the oldest. No member is overtaken by the walk, for the end of a session, which
// is its score, is never moved.
type cursor struct {
	tag   session.Tag
	from  int64
	count int
}

// turn reads the next page of every tag and the rows it names.
func (f *search) turn(ctx context.Context) error {
	now := f.cursors[:min(len(f.cursors), batch)]
	var pages rueidis.Commands
	for _, c := range now { // in reverse, what is called Min is the upper bound
		pages = append(pages, f.client.B().Zrange().Key(f.tagKey(c.tag)).Min(strconv.FormatInt(c.from, 10)).Max(strconv.FormatInt(f.now.UnixMilli(), 10)).
			Byscore().Rev().Limit(0, int64(c.count)).Withscores().Build().Pin())
	}
	var next []*cursor
	var keys []session.Key
	for i, result := range f.client.DoMulti(ctx, pages...) {
		members, err := result.AsZScores()
		if f.isNone(err) {
			continue
		} else if err != nil {
			return err
		}
		for _, m := range members {
			if key, ok := keyOfMember(m.Member); ok && !f.met[key] {
				f.met[key] = true
				keys = append(keys, key)
			}
		}
		if len(members) == now[i].count {
			next = append(next, now[i].after(members))
		}
	}
	f.cursors = append(next, f.cursors[len(now):]...)
	for some := range slices.Chunk(keys, batch) {
		if len(f.rows) >= f.limit {
			break
		}
		if err := f.load(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// after is the cursor behind a full page of members. When all of them have one score,
// more are read at once.
func (c *cursor) after(members []rueidis.ZScore) *cursor {
	last := int64(members[len(members)-1].Score)
	if last == c.from {
		return &cursor{tag: c.tag, from: last, count: 2 * c.count}
	}
	return &cursor{tag: c.tag, from: last, count: c.count}
}

func (f *search) load(ctx context.Context, keys []session.Key) error {
	var gets rueidis.Commands
	for _, key := range keys {
		gets = append(gets, f.client.B().Get().Key(f.rowKey(key)).Build().Pin())
	}
	for i, result := range f.client.DoMulti(ctx, gets...) {
		raw, err := result.AsBytes()
		if f.isNone(err) {
			continue
		} else if err != nil {
			return err
		}
		row, tags, ok := f.decode(keys[i], raw)
		wanted := ok && slices.ContainsFunc(tags, func(tag session.Tag) bool { return slices.Contains(f.tags, tag) })
		if wanted && !isOver(row, f.now) && len(f.rows) < f.limit {
			f.rows = append(f.rows, row)
		}
	}
	return nil
}

func keyOfMember(member string) (key session.Key, ok bool) {
	return key, copy(key[:], member) == len(key)
}
