package sqlstore

// The statements; times are milliseconds since 1970. A row is live while its ends,
// the earlier of idle and expires, lies in the future.
const (
	loadRow = `SELECT version, seen, idle, expires, data FROM session WHERE key = ?1 AND ends > ?2`

	insertRow = `INSERT INTO session (key, version, seen, idle, expires, data) VALUES (?1, ?2 + 1, ?3, ?4, ?5, ?6)
		ON CONFLICT (key) DO UPDATE SET version = excluded.version, seen = excluded.seen,
			idle = excluded.idle, expires = excluded.expires, data = excluded.data
		WHERE session.ends <= ?7`

	replaceRow = `UPDATE session SET version = version + 1, expires = ?5, data = ?6,
			seen = CASE WHEN seen < ?3 THEN ?3 ELSE seen END,
			idle = CASE WHEN idle < ?4 THEN ?4 ELSE idle END
		WHERE key = ?1 AND version = ?2 AND ends > ?7`

	versionOfRow = `SELECT version FROM session WHERE key = ?1 AND ends > ?2`

	touchRow = `UPDATE session SET
			seen = CASE WHEN seen < ?2 THEN ?2 ELSE seen END,
			idle = CASE WHEN idle < ?3 THEN ?3 ELSE idle END
		WHERE key = ?1 AND ends > ?4`

	deleteRow = `DELETE FROM session WHERE key = ?1`

	sweepRows = `DELETE FROM session WHERE key IN (SELECT key FROM session WHERE ends <= ?1 LIMIT ?2)`

	// writeNothing takes the write lock and finds no row.
	writeNothing = `UPDATE session SET version = version WHERE key = ''`
	readNothing  = `SELECT EXISTS (SELECT 1 FROM session)`
)
