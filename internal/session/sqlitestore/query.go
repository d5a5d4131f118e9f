package sqlitestore

// The statements; times are milliseconds since 1970. A row is live while its ends,
// the earlier of idle and expires, lies in the future.
const (
	loadRow = `SELECT version, seen, idle, expires, data FROM session WHERE key = ?1 AND ends > ?2`

	insertRow = `INSERT INTO session (key, version, seen, idle, expires, data, tags) VALUES (?1, ?2 + 1, ?3, ?4, ?5, ?6, ?7)
		ON CONFLICT (key) DO UPDATE SET version = excluded.version, seen = excluded.seen,
			idle = excluded.idle, expires = excluded.expires, data = excluded.data, tags = excluded.tags
		WHERE session.ends <= ?8`

	replaceRow = `UPDATE session SET version = version + 1, expires = ?5, data = ?6, tags = ?7,
			seen = CASE WHEN seen < ?3 THEN ?3 ELSE seen END,
			idle = CASE WHEN idle < ?4 THEN ?4 ELSE idle END
		WHERE key = ?1 AND version = ?2 AND ends > ?8`

	versionOfRow = `SELECT version FROM session WHERE key = ?1 AND ends > ?2`

	touchRow = `UPDATE session SET
			seen = CASE WHEN seen < ?2 THEN ?2 ELSE seen END,
			idle = CASE WHEN idle < ?3 THEN ?3 ELSE idle END
		WHERE key = ?1 AND ends > ?4`

	deleteRow     = `DELETE FROM session WHERE key = ?1`
	deleteVersion = deleteRow + ` AND version = ?2`

	// Between the two stands a question mark for each tag.
	findRows  = `SELECT key, version, seen, idle, expires, data FROM session WHERE ends > ?1 AND key IN (SELECT key FROM session_tag WHERE tag IN (`
	findLimit = `)) LIMIT ?`

	sweepRows   = `DELETE FROM session WHERE key IN (SELECT key FROM session WHERE ends <= ?1 LIMIT ?2)`
	sweepLeases = `DELETE FROM lease WHERE key IN (SELECT key FROM lease WHERE until <= ?1 LIMIT ?2)`

	takeLease = `INSERT INTO lease (key, owner, until, inherited) VALUES (?1, ?2, ?3, FALSE)
		ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, until = excluded.until, inherited = inherited OR owner <> excluded.owner
		WHERE owner = excluded.owner OR until <= ?4`

	heldLease = `SELECT inherited FROM lease WHERE key = ?1 AND owner = ?2`

	endLease = `DELETE FROM lease WHERE key = ?1 AND owner = ?2`

	// writeNothing takes the write lock and finds no row.
	writeNothing = `UPDATE session SET version = version WHERE key = ''`
	readNothing  = `SELECT EXISTS (SELECT 1 FROM session)`
)
