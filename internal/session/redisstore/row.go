package redisstore

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"genkan/internal/session"
)

// A row is one string: a head of fixed width, the tags, the data. Numbers are decimal
// and padded, since Lua compares strings as the server's locale sorts them, and only
// digits sort alike in all of them. The scripts know these positions too.
const (
	versionEnd = 20
	seenEnd    = versionEnd + 16
	idleEnd    = seenEnd + 16
	expiresEnd = idleEnd + 16
	nonceEnd   = expiresEnd + 8 // of the row's entry in its tags: see index.go
	headEnd    = nonceEnd + 1   // and one digit that counts the tags
	tagLen     = len(session.Tag{})
)

// shift makes every moment a number of 16 digits that a Lua number holds exactly;
// earliest and latest bound it, in milliseconds of the Unix epoch.
const shift, earliest, latest = 1e15, -1e15, 8e15

var errRow = errors.New("a row is not in this program's format")

// entry is what a row is found by: its tags hold its key together with the nonce.
type entry struct {
	nonce string
	tags  []session.Tag
}

func versionText(version uint64) string { return fmt.Sprintf("%0*d", versionEnd, version) }

func momentText(t time.Time) string {
	return fmt.Sprintf("%016d", min(max(t.UnixMilli(), earliest), latest)+shift)
}

// tagsText is how a row carries its tags: counted and, to be comparable, in order.
func tagsText(tags []session.Tag) string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(len(tags)))
	for _, tag := range tags {
		b.Write(tag[:])
	}
	return b.String()
}

// setOf is tags in order, each once.
func setOf(tags []session.Tag) []session.Tag {
	set := slices.SortedFunc(slices.Values(tags), func(a, b session.Tag) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(set)
}

// decodeRow reads what save.lua has written, and the same that read.lua does. Row.Data is
// a part of raw.
func decodeRow(key session.Key, raw []byte) (session.Row, []session.Tag, error) {
	if len(raw) < headEnd {
		return session.Row{}, nil, errRow
	}
	e, err := decodeEntry(raw[expiresEnd:])
	if err != nil {
		return session.Row{}, nil, err
	}
	version, err := strconv.ParseUint(string(raw[:versionEnd]), 10, 64)
	var moments [3]time.Time
	for i := range moments {
		at := versionEnd + 16*i
		milli, wrong := strconv.ParseUint(string(raw[at:at+16]), 10, 63)
		moments[i], err = time.UnixMilli(int64(milli)-shift).UTC(), errors.Join(err, wrong)
	}
	if err != nil {
		return session.Row{}, nil, errRow // the causes quote the row
	}
	return session.Row{
		Key: key, Version: version, Data: raw[headEnd+tagLen*len(e.tags):],
		Seen: moments[0], Idle: moments[1], Expires: moments[2],
	}, e.tags, nil
}

// decodeEntry reads a nonce and tags, and whatever follows them.
func decodeEntry(raw []byte) (entry, error) {
	const head = headEnd - expiresEnd
	if len(raw) < head {
		return entry{}, errRow
	}
	count := int(raw[head-1]) - '0'
	if count < 0 || count > session.MaxTags || len(raw) < head+tagLen*count {
		return entry{}, errRow
	}
	e := entry{nonce: string(raw[:head-1]), tags: make([]session.Tag, count)}
	for i := range e.tags {
		copy(e.tags[i][:], raw[head+tagLen*i:])
	}
	return e, nil
}

func isOver(row session.Row, now time.Time) bool {
	return !now.Before(row.Idle) || !now.Before(row.Expires)
}
