package pgstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"genkan/internal/session"
)

const (
	// beat is how often the server is asked on the listening connection. Its answer comes
	// behind every notice of what was done before.
	beat = session.Lag / 4
	// silence is how long that answer may take before the connection counts as gone.
	silence = 2 * time.Second
	// echoWait is how long a write waits until its own notice has come back, which is
	// when the other replicas have theirs.
	echoWait = 250 * time.Millisecond
	// proofWait is how long the notice that proves the feed may take.
	proofWait = 2 * time.Second
)

var errNoEcho = errors.New("a notice sent through the pool does not arrive: behind a pooler, use session pooling")

// feed is what the listener knows.
type feed struct {
	stamps session.Stamps
	// late: a notice of our own was not seen in time, and the feed has to be proved.
	late atomic.Bool

	mu     sync.Mutex
	isUp   bool
	echoes map[string]chan struct{} // payloads of own notices that may come back; closed then
}

// channelOf is the channel of the tables in a schema. Channels are of the whole
// database, where several Genkans may each have a schema. The 1 is the payload's form.
func channelOf(space string) string {
	sum := sha256.Sum256([]byte(space))
	return "genkan_session_1_" + hex.EncodeToString(sum[:8])
}

// payloadOf names the row of key, and tells the notice from every other.
func payloadOf(key session.Key) string {
	return base64.RawURLEncoding.EncodeToString(key[:]) + "." + rand.Text()
}

// keyOf is of a payload that names a row.
func keyOf(payload string) (key session.Key, ok bool) {
	name, _, _ := strings.Cut(payload, ".")
	raw, err := base64.RawURLEncoding.DecodeString(name)
	if err != nil || len(raw) != len(key) {
		return key, false
	}
	return session.Key(raw), true
}

// heard takes a notice.
func (f *feed) heard(payload string) {
	if key, ok := keyOf(payload); ok {
		f.stamps.Changed(key)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if seen, ok := f.echoes[payload]; ok {
		close(seen)
		delete(f.echoes, payload)
	}
}

// expect returns what is closed when the notice has come back or nobody listens.
func (f *feed) expect(payload string) (seen <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	echo := make(chan struct{})
	if f.isUp {
		f.echoes[payload] = echo
	} else {
		close(echo)
	}
	return echo
}

// await is expect although the feed is not up yet.
func (f *feed) await(payload string) (seen <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	echo := make(chan struct{})
	f.echoes[payload] = echo
	return echo
}

func (f *feed) forget(payload string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.echoes, payload)
}

func (f *feed) up() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.isUp = true
	f.stamps.Up()
}

func (f *feed) down() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.isUp = false
	f.stamps.Down()
	for _, seen := range f.echoes {
		close(seen)
	}
	clear(f.echoes)
}

// change runs a write that sends payload as its notice, and if it tells of it, waits
// until it has been heard.
func (s *Store) change(ctx context.Context, key session.Key, tells bool, write func(payload string) error) error {
	payload := payloadOf(key)
	seen := s.feed.expect(payload)
	defer s.feed.forget(payload)
	err := write(payload)
	s.feed.stamps.Changed(key)
	if err != nil || !tells {
		return err
	}
	select {
	case <-seen:
	case <-ctx.Done():
	case <-time.After(echoWait):
		s.feed.late.Store(true)
	}
	return nil
}

// listen hears notices until it cannot any more. Its connection is not of the pool:
// it must not be lent, nor wait to be.
func (s *Store) listen(ctx context.Context) error {
	connecting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	config := s.listener.Config.Copy()
	config.OnNotification = func(_ *pgconn.PgConn, notice *pgconn.Notification) { s.feed.heard(notice.Payload) }
	config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: c.Conn()} // no grace: beats are closer than that
	}
	conn, err := pgconn.ConnectConfig(connecting, config)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), silence)
		defer cancel()
		_ = conn.Close(closing)
	}()
	if err := conn.Exec(connecting, "LISTEN "+pgx.Identifier{s.channel}.Sanitize()).Close(); err != nil {
		return err
	}
	if err := s.prove(ctx, conn); err != nil {
		return err
	}
	if err := s.beat(ctx, conn); err != nil {
		return err
	}
	s.feed.up()
	s.logger.InfoContext(ctx, "notices from the session database arrive; sessions are cached")
	for {
		if err := s.hear(ctx, conn); err != nil {
			return err
		}
		if s.feed.late.Swap(false) {
			if err := s.prove(ctx, conn); err != nil {
				return err
			}
		}
	}
}

// hear takes notices until the next beat.
func (s *Store) hear(ctx context.Context, conn *pgconn.PgConn) error {
	waiting, cancel := context.WithTimeout(ctx, beat)
	defer cancel()
	for waiting.Err() == nil {
		if err := conn.WaitForNotification(waiting); err != nil && (!pgconn.Timeout(err) || conn.IsClosed()) {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.beat(ctx, conn)
}

// beat asks the server for nothing. A backend sends the notices that wait for it before
// it says that it is ready for the next question.
func (s *Store) beat(ctx context.Context, conn *pgconn.PgConn) error {
	asking, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	asked := time.Now()
	if err := conn.Ping(asking); err != nil {
		return fmt.Errorf("the listening connection is silent: %w", err)
	}
	s.feed.stamps.Proved(asked)
	return nil
}

// prove sends a notice through the pool, as every write does, and waits until it
// arrives at the listening connection. A pooler may give that one to somebody else.
func (s *Store) prove(ctx context.Context, conn *pgconn.PgConn) error {
	ctx, cancel := context.WithTimeout(ctx, proofWait)
	defer cancel()
	proof := "." + rand.Text()
	seen := s.feed.await(proof)
	defer s.feed.forget(proof)
	err := s.repeatable(ctx, "notify", func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, notify, s.channel, proof)
		return err
	})
	if err != nil {
		return err
	}
	for {
		select {
		case <-seen:
			return nil
		default:
		}
		switch err := conn.WaitForNotification(ctx); {
		case err != nil && pgconn.Timeout(err):
			return errNoEcho
		case err != nil:
			return err
		}
	}
}
