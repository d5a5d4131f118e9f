package pgstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// schema holds the migrations, one file each, in the order of their names;
// genkan_schema counts those the database has had.
//
//go:embed schema/*.sql
var schema embed.FS

// migrating is the advisory lock of whoever migrates; no other program may use it.
const migrating = 0x67656e6b616e

var (
	errStarting = errors.New("not connected yet")
	errNewer    = errors.New("schema is newer than this program; start a newer Genkan, or give this one another search_path")
	errNoSchema = errors.New("no schema of search_path exists; create it, or name another one")
)

// Open begins to use a database and brings its tables up to date. A database that
// cannot be reached, or refuses, is no error: it is logged, at most once a minute, and
// tried again until it works; until then every call fails at once. now is the clock
// rows end by.
func Open(ctx context.Context, c *Config, now func() time.Time, logger *slog.Logger) (*Store, error) {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	pool, err := pgxpool.NewWithConfig(background, c.pool.Copy())
	if err != nil {
		stop()
		return nil, fmt.Errorf("pgstore: %w", err)
	}
	s := &Store{now: now, logger: logger, pool: pool, listener: c.pool.ConnConfig, stop: stop, complained: map[string]time.Time{}}
	s.fault.Store(&errStarting)
	s.feed.stamps.Proofs = true
	s.feed.echoes = map[string]chan struct{}{}
	err = s.prepare(ctx)
	if err != nil && (ctx.Err() != nil || errors.Is(err, errNewer)) {
		_ = s.Close()
		return nil, fmt.Errorf("pgstore: %w", err)
	}
	s.working.Go(func() { s.work(background, err) })
	return s, nil
}

// work makes the database ready, and then listens to it until the store is closed. err
// is of the first attempt.
func (s *Store) work(ctx context.Context, err error) {
	for tries := 0; err != nil && ctx.Err() == nil; tries++ {
		s.complain(ctx, "the session database cannot be used yet; Genkan tries again", err)
		rest(ctx, tries, longestRest)
		err = s.prepare(ctx)
	}
	for tries := 0; ctx.Err() == nil; tries++ {
		started := time.Now()
		err := s.listen(ctx)
		s.feed.down()
		if ctx.Err() != nil {
			return
		}
		s.pool.Reset() // those connections are likely to be gone too
		s.complain(ctx, "no notices from the session database; sessions are not cached until they come again", err)
		if time.Since(started) > longestRest {
			tries = 0
		}
		longest := longestRest
		if errors.Is(err, errNoEcho) {
			longest = 5 * time.Minute // only an administrator can change that
		}
		rest(ctx, tries, longest)
	}
}

// prepare migrates, and says so to every call.
func (s *Store) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	space, err := migrate(ctx, s.pool, schema)
	if err != nil {
		err = fmt.Errorf("migrate: %w", err)
		s.fault.Store(&err)
		return err
	}
	s.channel = channelOf(space)
	s.fault.Store(nil)
	return nil
}

// migrate runs what the database has not had yet, all or nothing, one process at a
// time. It returns the schema the tables are in.
func migrate(ctx context.Context, pool *pgxpool.Pool, files fs.FS) (space string, err error) {
	names, err := fs.Glob(files, "schema/*.sql")
	if err != nil {
		return "", err
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrating)); err != nil {
			return err
		}
		had := 0
		space, had, err = version(ctx, tx)
		switch {
		case err != nil || had == len(names):
			return err
		case had > len(names):
			return errNewer
		}
		for _, name := range names[had:] {
			text, err := fs.ReadFile(files, name)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, string(text)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		_, err := tx.Exec(ctx, `UPDATE genkan_schema SET version = $1`, len(names))
		return err
	})
	return space, err
}

// version returns the schema that tables are made in, and how many migrations it has
// had. It writes only where there is nothing, so that a user who may not make tables
// can use those that are there.
func version(ctx context.Context, tx pgx.Tx) (space string, had int, err error) {
	var name *string
	var exists bool
	err = tx.QueryRow(ctx, `SELECT current_schema(), to_regclass(quote_ident(current_schema()) || '.genkan_schema') IS NOT NULL`).Scan(&name, &exists)
	switch {
	case err != nil:
		return "", 0, err
	case name == nil:
		return "", 0, errNoSchema
	case !exists:
		_, err = tx.Exec(ctx, `CREATE TABLE genkan_schema (version int NOT NULL); INSERT INTO genkan_schema VALUES (0)`)
		return *name, 0, err
	}
	err = tx.QueryRow(ctx, `SELECT version FROM genkan_schema`).Scan(&had)
	return *name, had, err
}

// longestRest is how long a server may be back before it is noticed.
const longestRest = 5 * time.Second

// rest waits longer after every try, and not as long as every other replica.
func rest(ctx context.Context, tries int, longest time.Duration) {
	pause := min(longest, 100*time.Millisecond<<min(tries, 20))
	select {
	case <-ctx.Done():
	case <-time.After(pause/2 + rand.N(pause/2)):
	}
}

// complain logs what is wrong, with a remedy if there is one.
func (s *Store) complain(ctx context.Context, message string, err error) {
	if last, ok := s.complained[message]; ok && time.Since(last) < time.Minute {
		return
	}
	s.complained[message] = time.Now()
	s.logger.WarnContext(ctx, message, "error", err, "fix", fix(err))
}

// fix is what an administrator can do about err.
func fix(err error) string {
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) {
		return "check that the server runs and can be reached from here"
	}
	switch refusal.Code[:min(2, len(refusal.Code))] { // classes of SQLSTATE
	case "28":
		return "check user name, password and pg_hba.conf"
	case "3D":
		return "create the database: Genkan makes its tables, not the database"
	case "42":
		return "let the user make tables: GRANT USAGE, CREATE ON SCHEMA"
	case "25":
		return "name the primary server: this one takes no writes"
	case "53":
		return "raise max_connections, or lower pool_max_conns in the address"
	}
	return "see the server's log"
}
