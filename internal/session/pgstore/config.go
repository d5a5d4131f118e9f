package pgstore

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// defaults stand before what the URL says: there the last one counts.
	// Milliseconds where there is no unit.
	defaults = "pool_max_conns=10&pool_ping_timeout=1s&connect_timeout=3&statement_timeout=5000&lock_timeout=5000&default_transaction_isolation=read%20committed&application_name=genkan"
	// grace is how long a statement may go on after its caller has hung up, so that
	// hanging up does not cost a connection.
	grace = 100 * time.Millisecond
)

var (
	errScheme = errors.New("pgstore: the address does not begin with postgres:// or postgresql://")
	errURL    = errors.New("pgstore: the address is not a URL; in user name, password and parameters write : as %3A, / as %2F, ? as %3F, @ as %40, & as %26, % as %25")
)

// Config is an address that Open takes. It holds the password: do not print it.
type Config struct{ pool *pgxpool.Config }

// Parse reads an address of the form postgres://user:password@host:port/database?parameters,
// with the parameters and the environment (PGSSLROOTCERT and so on) of libpq and with
// pool_max_conns. What it does not say is: 10 connections, 3 s to connect, statement_timeout
// and lock_timeout 5 s, application_name genkan. search_path says where the tables are.
// No error shows the password.
func Parse(address string) (*Config, error) {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok || scheme != "postgres" && scheme != "postgresql" {
		return nil, errScheme
	}
	end := strings.IndexAny(rest+"/", "/?")
	login, hosts, ok := strings.Cut(rest[:end], "@")
	if !ok {
		login, hosts = "", login
	}
	place, parameters, _ := strings.Cut(hosts+rest[end:], "?")
	if strings.Contains(place+parameters, "@") {
		return nil, errURL // a password may reach over there
	}
	user, password, _ := strings.Cut(login, ":")
	password, err := url.PathUnescape(password)
	if err != nil || strings.Contains(password, "\x00") {
		return nil, errURL
	}
	// The driver is not told the password, whatever its errors show.
	config, err := pgxpool.ParseConfig("postgres://" + user + "@" + place + "?" + defaults + "&" + parameters)
	if err != nil {
		return nil, parseError(err)
	}
	connection := config.ConnConfig
	if password != "" {
		connection.Password = password
	}
	if connection.ConnectTimeout <= 0 {
		connection.ConnectTimeout = wait
	}
	connection.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: c.Conn(), DeadlineDelay: grace}
	}
	return &Config{config}, nil
}

// parseError keeps what the driver found and leaves out the address it quotes.
func parseError(err error) error {
	text := err.Error()
	if i := strings.LastIndex(text, "`: "); i >= 0 {
		text = text[i+len("`: "):]
	}
	if strings.HasPrefix(text, "failed to parse as URL") {
		return errURL // the rest quotes parameters, where a password may stand
	}
	return fmt.Errorf("pgstore: the address: %s", text)
}
