-- One row per session; times are milliseconds since 1970. The text serves SQLite and
-- PostgreSQL alike but for BLOB, which is BYTEA there.
--
-- data stands last, so that a touch rewrites one page and not the record. Not WITHOUT
-- ROWID: rows of 2 KiB make its tree deep, and Load and Save half as fast (measured).
CREATE TABLE session (
	key     BLOB   NOT NULL PRIMARY KEY,
	version BIGINT NOT NULL,
	seen    BIGINT NOT NULL,
	idle    BIGINT NOT NULL,
	expires BIGINT NOT NULL,
	ends    BIGINT GENERATED ALWAYS AS (CASE WHEN idle < expires THEN idle ELSE expires END) STORED,
	data    BLOB   NOT NULL
);

CREATE INDEX session_ends ON session (ends);
