-- One row per session; times are milliseconds since 1970 by the clock of Genkan.
--
-- data is sealed and does not compress: EXTERNAL saves the attempt. Long data lies
-- apart from the row, so that a touch does not write it again.
CREATE TABLE genkan_session (
	key     bytea  NOT NULL PRIMARY KEY,
	version bigint NOT NULL,
	seen    bigint NOT NULL,
	idle    bigint NOT NULL,
	expires bigint NOT NULL,
	ends    bigint GENERATED ALWAYS AS (LEAST(idle, expires)) STORED,
	data    bytea  NOT NULL
);

ALTER TABLE genkan_session ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE INDEX genkan_session_ends ON genkan_session (ends);

CREATE TABLE genkan_tag (
	tag bytea NOT NULL,
	key bytea NOT NULL REFERENCES genkan_session ON DELETE CASCADE,
	PRIMARY KEY (tag, key)
);

CREATE INDEX genkan_tag_key ON genkan_tag (key);

-- Ends by the clock of the server, unlike a session.
CREATE TABLE genkan_lease (
	key       bytea       NOT NULL PRIMARY KEY,
	owner     bytea       NOT NULL,
	inherited boolean     NOT NULL,
	until     timestamptz NOT NULL
);

CREATE INDEX genkan_lease_until ON genkan_lease (until);
