package pgstore

// Every statement is one round trip and its own transaction, at READ COMMITTED: what
// waits for another writer of the row judges it anew by what that one has left.
const (
	loadRow = `SELECT version, seen, idle, expires, data FROM genkan_session WHERE key = $1 AND ends > $2`

	// insertRow takes over a row that is over. It notifies only then: of a row that
	// was not there, nobody can have a copy.
	insertRow = `WITH written AS (
			INSERT INTO genkan_session AS old (key, version, seen, idle, expires, data)
			VALUES ($1, $2::bigint + 1, $3, $4, $5, $6)
			ON CONFLICT (key) DO UPDATE SET version = excluded.version, seen = excluded.seen,
				idle = excluded.idle, expires = excluded.expires, data = excluded.data
			WHERE old.ends <= $7
			RETURNING key
		), ` + setTags + `
		SELECT CASE WHEN EXISTS (SELECT FROM genkan_session WHERE key = $1) THEN pg_notify($9, $10)::text END
		FROM written`

	replaceRow = `WITH written AS (
			UPDATE genkan_session SET version = version + 1, seen = GREATEST(seen, $3),
				idle = GREATEST(idle, $4), expires = $5, data = $6
			WHERE key = $1 AND version = $2 AND ends > $7
			RETURNING key
		), ` + setTags + `
		SELECT pg_notify($9, $10) FROM written`

	// setTags asks for written first, and so works under the lock of the row.
	setTags = `dropped AS (
			DELETE FROM genkan_tag WHERE key = $1 AND tag <> ALL ($8::bytea[]) AND EXISTS (SELECT FROM written)
		), added AS (
			INSERT INTO genkan_tag (tag, key) SELECT unnest($8::bytea[]), key FROM written
			ON CONFLICT DO NOTHING
		)`

	isLive = `SELECT EXISTS (SELECT FROM genkan_session WHERE key = $1 AND ends > $2)`

	// touchRows locks in one order, so that two replicas do not wait for each other.
	touchRows = `UPDATE genkan_session AS s SET seen = GREATEST(s.seen, row.seen), idle = GREATEST(s.idle, row.idle)
		FROM (
			SELECT given.* FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) AS given (key, seen, idle)
			JOIN genkan_session USING (key) ORDER BY key FOR UPDATE OF genkan_session
		) AS row
		WHERE s.key = row.key AND s.ends > $4`

	deleteRow = `WITH gone AS (
			DELETE FROM genkan_session WHERE key = $1 AND ($2::bigint = 0 OR version = $2) RETURNING key
		)
		SELECT pg_notify($3, $4) FROM gone`

	// findRows keeps the planner (OFFSET 0) from joining the whole table.
	findRows = `SELECT row.* FROM (SELECT DISTINCT key FROM genkan_tag WHERE tag = ANY ($1::bytea[])) AS tagged,
		LATERAL (
			SELECT key, version, seen, idle, expires, data FROM genkan_session
			WHERE key = tagged.key AND ends > $2 OFFSET 0
		) AS row LIMIT $3`

	// takeLease asks first and locks after: many wait for a lease by asking again.
	takeLease = `INSERT INTO genkan_lease AS old (key, owner, inherited, until)
		SELECT $1::bytea, $2::bytea, false, clock_timestamp() + make_interval(secs => $3)
		WHERE NOT EXISTS (SELECT FROM genkan_lease WHERE key = $1 AND owner <> $2 AND until > clock_timestamp())
		ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, inherited = old.inherited OR old.owner <> excluded.owner,
			until = clock_timestamp() + make_interval(secs => $3)
		WHERE old.owner = excluded.owner OR old.until <= clock_timestamp()
		RETURNING inherited`

	releaseLease = `DELETE FROM genkan_lease WHERE key = $1 AND owner = $2`

	// sweepRows says twice which rows: one may have come back to life (an insert over
	// it) since it was found. ends + 0 has no index: were all the rows that are over
	// looked at for every batch, sweeping many would take the square of it.
	sweepRows = `DELETE FROM genkan_session WHERE ends + 0 <= $1 AND key = ANY (ARRAY(
			SELECT key FROM genkan_session WHERE ends <= $1 ORDER BY ends LIMIT $2 FOR UPDATE SKIP LOCKED
		)) RETURNING key`

	sweepLeases = `DELETE FROM genkan_lease WHERE key = ANY (ARRAY(
			SELECT key FROM genkan_lease WHERE until < statement_timestamp() - interval '10 minutes'
			ORDER BY until LIMIT $1 FOR UPDATE SKIP LOCKED
		))`

	// pingDatabase needs a server that takes writes, and finds no row.
	pingDatabase = `WITH nothing AS (UPDATE genkan_session SET version = version WHERE key = '' RETURNING key)
		SELECT EXISTS (SELECT FROM nothing), EXISTS (SELECT FROM genkan_session)`

	notify = `SELECT pg_notify($1, $2)`
)
