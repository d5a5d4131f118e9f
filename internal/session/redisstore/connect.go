package redisstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

const (
	// patience is how long Open waits for a first connection.
	patience = 3 * time.Second
	// retryFirst and retryLast bound the pause between two tries to get one.
	retryFirst = 50 * time.Millisecond
	retryLast  = 2 * time.Second
	// dialLimit bounds a connection and its greeting, pingLimit a silence after a ping,
	// which is sent when nothing else has been for pingEvery.
	dialLimit = 2 * time.Second
	pingEvery = time.Second
	pingLimit = 3 * time.Second
	// refresh is how often the addresses of the servers are asked for again.
	refresh = 5 * time.Second
	// writers bounds the connections to one server on which somebody waits for a replica.
	writers = 8
	// buffer is per connection and direction, in bytes.
	buffer = 64 << 10
)

var errConnecting = errors.New("there is no connection yet")

// Open returns a store on the servers of c; now is the clock that rows end by. It waits
// three seconds at most for a first connection and succeeds without one too: the store
// then fails every call until it has one, for which it goes on trying, and logs why it
// has none. Only a Config or files that cannot be used are an error.
func Open(ctx context.Context, c Config, now func() time.Time, logger *slog.Logger) (*Store, error) {
	if c.kind == nil {
		return nil, errors.New("redisstore: the Config is not one that Parse has made")
	}
	secure, err := c.secure()
	if err != nil {
		return nil, fmt.Errorf("redisstore: TLS: %w", err)
	}
	s := newStore(c, secure, now, logger)
	s.start(ctx)
	return s, nil
}

func newStore(c Config, secure *tls.Config, now func() time.Time, logger *slog.Logger) *Store {
	s := &Store{
		now: now, config: c, prefix: c.prefix, scripts: newScripts(), secrets: c.secrets(),
		herald: &herald{log: logger, at: map[string]time.Time{}},
		lost:   make(chan struct{}, 1), secure: secure, again: time.Minute,
	}
	s.stamps.Proofs = true
	s.down.Store(&errConnecting)
	return s
}

// start begins to connect, and waits for the outcome of the first try for a while.
func (s *Store) start(ctx context.Context) {
	s.context, s.close = context.WithCancel(context.WithoutCancel(ctx))
	tried := make(chan struct{})
	s.ended.Go(func() { s.run(tried) })
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-tried:
	case <-limit.C:
	case <-ctx.Done():
	}
}

// Close implements session.Store.
func (s *Store) Close() error {
	s.close()
	s.ended.Wait()
	return nil
}

// run keeps a client until the store is closed. rueidis makes one only while the servers
// answer; after that it finds them again by itself.
func (s *Store) run(tried chan struct{}) {
	defer s.stamps.Down()
	first := func() {
		if tried != nil {
			close(tried)
			tried = nil
		}
	}
	tracking, pause := true, retryFirst
	for s.context.Err() == nil {
		client, err := rueidis.NewClient(s.options(tracking))
		if err == nil {
			pause = retryFirst
			s.client.Store(&client)
			err = s.watch(client, tracking, first)
			s.client.Store(nil)
			s.stamps.Down()
		}
		if client != nil {
			client.Close()
		}
		if errors.Is(err, errAgain) {
			tracking = true
			continue
		}
		if tracking && isRefused(err) {
			tracking = false
			s.herald.say(slog.LevelWarn, "Redis does not let Genkan follow changes (CLIENT TRACKING); every request reads its session from Redis", "error", s.clean(err))
			continue
		}
		if s.context.Err() != nil {
			return
		}
		s.failed(err)
		first()
		select {
		case <-s.context.Done():
		case <-time.After(pause/2 + rand.N(pause)): // replicas must not try in step
		}
		pause = min(2*pause, retryLast)
	}
}

// errAgain: CLIENT TRACKING was refused and is not any more.
var errAgain = errors.New("redisstore: Redis lets Genkan follow changes again")

// mayFollow tries CLIENT TRACKING at all servers.
func (s *Store) mayFollow() bool {
	client, err := rueidis.NewClient(s.options(true))
	if client != nil {
		defer client.Close()
	}
	return err == nil && s.look(client, &sight{}).err == nil
}

// refusal is in the answer of a server that does not know CLIENT TRACKING, or does not
// allow it. One that is busy or still loading has another code, and gets over it.
var refusal = regexp.MustCompile(`\b(NOPERM|ERR) `)

// isRefused reports whether a connection has failed at CLIENT TRACKING for good. rueidis
// calls every failure there ErrNoCache; it names no command when the server cannot do the
// protocol that tracking needs.
func isRefused(err error) bool {
	return errors.Is(err, rueidis.ErrNoCache) && (refusal.MatchString(err.Error()) || !strings.Contains(err.Error(), "[CLIENT "))
}

func (s *Store) failed(err error) {
	err = s.clean(err)
	s.down.Store(&err)
	s.herald.say(slog.LevelError, "there is no connection to Redis; Genkan goes on trying", "address", s.config.String(), "error", err, "hint", hint(err))
}

// clean is err without passwords, and without what rueidis advises its own users.
func (s *Store) clean(err error) error {
	text, _, _ := strings.Cut(err.Error(), "\n")
	if text = s.secrets.Replace(text); text != err.Error() {
		return errors.New(text)
	}
	return err
}

const endedHint = "the server ended the connection; if it wants TLS, use rediss in place of redis"

// hints are what to do about an error whose text has the fragment.
var hints = []struct{ fragment, hint string }{
	{"WRONGPASS", "check the user and the password"},
	{"NOAUTH", "give a user and a password"},
	{"invalid password", "check the password"},
	{"NOPERM", "the Redis user lacks a permission; docs/sessions.md has the line for the ACL"},
	{"No such master", "the sentinels know no master by the name in the address"},
	{"cluster support disabled", "the server is no Cluster: use redis://"},
	{"MOVED", "the server is a Cluster: use redis+cluster://"},
	{"x509:", "check ca_file and server_name"},
	{"certificate", "check ca_file, cert_file and key_file"},
	{"first record does not look like a TLS handshake", "the server does not speak TLS on this port: use redis in place of rediss"},
	{"EOF", endedHint},
	{"reset by peer", endedHint},
	{"deadline exceeded", "check host, port and firewall; if the server does not speak TLS, use redis in place of rediss"},
	{"no master", "a Cluster has no slots yet, or the address leads to a replica"},
	{"connection refused", "check that the server runs, and its host and port"},
}

func hint(err error) string {
	for _, h := range hints {
		if strings.Contains(err.Error(), h.fragment) {
			return h.hint
		}
	}
	return "check the address"
}

// options are rueidis'. One connection per server carries everything but the waits for
// replicas, so that the notices of what was read over it come over it too: see watch.
func (s *Store) options(tracking bool) rueidis.ClientOption {
	c := s.config
	dialer := net.Dialer{Timeout: dialLimit, KeepAlive: pingEvery}
	return rueidis.ClientOption{
		InitAddress: c.addresses, Username: c.user, Password: c.password, SelectDB: c.database,
		TLSConfig: s.secure, Dialer: dialer, DialCtxFn: s.dial, ConnWriteTimeout: pingLimit,
		ForceSingleClient: c.kind == single,
		Sentinel: rueidis.SentinelOption{
			MasterSet: c.master, Username: c.sentinelUser, Password: c.sentinelPassword,
			TLSConfig: s.secure, Dialer: dialer, TopologyRefreshInterval: refresh,
		},
		ClusterOption:     rueidis.ClusterOption{ShardsRefreshInterval: refresh, MaxMovedRedirections: 8},
		ClientName:        "genkan",
		ClientSetInfo:     []string{}, // no CLIENT SETINFO, which Redis 7.0 does not know
		PipelineMultiplex: -1, AlwaysPipelining: true, BlockingPoolSize: writers,
		ReadBufferEachConn: buffer, WriteBufferEachConn: buffer, RingScaleEachConn: 8,
		DisableCache:          !tracking,
		ClientTrackingOptions: []string{"BCAST", "PREFIX", s.prefix + ":s:"},
		OnInvalidations:       s.noticed,
		RetryDelay:            retryDelay,
	}
}

// retryDelay is for reads only: rueidis does not repeat a write. Every read is pinned, or
// rueidis would use its memory for another command after the second answer, while the
// connection that broke may still be writing the first question.
func retryDelay(attempts int, _ rueidis.Completed, _ error) time.Duration {
	if attempts > 2 {
		return -1
	}
	return time.Duration(attempts) * 20 * time.Millisecond
}

// dial makes a connection that ends with the store: rueidis itself would wait for answers
// on it first.
func (s *Store) dial(ctx context.Context, address string, dialer *net.Dialer, secure *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.context, cancel)()
	dial := dialer.DialContext
	if secure != nil {
		dial = (&tls.Dialer{NetDialer: dialer, Config: secure}).DialContext
	}
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &connection{conn, context.AfterFunc(s.context, func() { _ = conn.Close() })}, nil
}

// connection forgets the end of the store when it has ended itself.
type connection struct {
	net.Conn
	forget func() bool
}

func (c *connection) Close() error {
	c.forget()
	return c.Conn.Close()
}

func (c Config) secure() (*tls.Config, error) {
	if !c.tls {
		return nil, nil // no TLS is no error
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.serverName}
	if c.caFile != "" {
		pem, err := os.ReadFile(c.caFile)
		if err != nil {
			return nil, err
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", c.caFile)
		}
	}
	if c.certFile != "" {
		pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
		if err != nil {
			return nil, err
		}
		secure.Certificates = []tls.Certificate{pair}
	}
	return secure, nil
}

// secrets hides the passwords in a text: old servers repeat what they do not understand.
func (c Config) secrets() *strings.Replacer {
	var pairs []string
	for _, secret := range []string{c.password, c.sentinelPassword} {
		if secret != "" {
			pairs = append(pairs, secret, "***")
		}
	}
	return strings.NewReplacer(pairs...)
}

// write runs a script on key and waits a moment for a replica to have what it did, so
// that a fail-over does not bring back a refresh token that was used up, or a session
// that had ended, nor takes a lease away. A replica that is late is no error: the write
// has happened.
//
// The wait must be on the connection of the write, and nobody else's commands may stand
// behind it: rueidis takes one from its pool for that, and a failed script is sent whole
// since a second round would be another connection.
func (s *Store) write(ctx context.Context, c rueidis.Client, script script, key string, args ...string) rueidis.RedisResult {
	command := c.B().Eval().Script(script.text).Numkeys(1).Key(key).Arg(args...).Build()
	master := s.awaited(command.Slot())
	if master == 0 {
		return script.Exec(ctx, c, []string{key}, args)
	}
	results := c.DoMulti(ctx,
		c.B().ClientTracking().Off().Build(), // nothing is read here
		command,
		c.B().Wait().Numreplicas(1).Timeout(ackLimit.Milliseconds()).Build())
	if results[1].Error() == nil {
		if acks, err := results[2].AsInt64(); err != nil || acks < 1 {
			s.missed[master-1].Store(time.Now().UnixNano())
			s.herald.say(slog.LevelWarn, "no replica of Redis has acknowledged a session in time; a fail-over now could lose it", "error", err)
		}
	}
	return results[1]
}

const (
	// ackLimit bounds the wait for a replica, and after a wait in vain nobody waits at that
	// master for ackPause, so that a lagging replica does not hold up everybody.
	ackLimit = 100 * time.Millisecond
	ackPause = time.Second
)

// awaited is the master of a slot if a replica of it is to be waited for, or else 0.
func (s *Store) awaited(slot uint16) uint16 {
	last := s.last.Load()
	if last == nil {
		return 0
	}
	master := last.replicas[slot%slots]
	if master > 0 && time.Now().UnixNano()-s.missed[master-1].Load() <= ackPause.Nanoseconds() {
		return 0
	}
	return master
}
