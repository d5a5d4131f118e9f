-- Tags of a row one after the other, 32 bytes each, in order: what is the same set is the
-- same value, and a save that does not change it writes nothing but the row.
ALTER TABLE session ADD COLUMN tags BLOB NOT NULL DEFAULT x'';

-- Find's index. The triggers keep it in the statement that changes the row, so that no
-- writer, Sweep included, can leave the two apart.
CREATE TABLE session_tag (
	tag BLOB NOT NULL,
	key BLOB NOT NULL,
	PRIMARY KEY (tag, key)
) WITHOUT ROWID;

CREATE VIEW nth (at) AS VALUES (1), (33), (65), (97), (129), (161), (193), (225);

CREATE TRIGGER session_inserted AFTER INSERT ON session BEGIN
	INSERT INTO session_tag SELECT substr(new.tags, at, 32), new.key FROM nth WHERE at < length(new.tags);
END;

CREATE TRIGGER session_updated AFTER UPDATE OF tags ON session WHEN old.tags <> new.tags BEGIN
	DELETE FROM session_tag WHERE key = old.key AND tag IN (SELECT substr(old.tags, at, 32) FROM nth);
	INSERT INTO session_tag SELECT substr(new.tags, at, 32), new.key FROM nth WHERE at < length(new.tags);
END;

CREATE TRIGGER session_deleted AFTER DELETE ON session BEGIN
	DELETE FROM session_tag WHERE key = old.key AND tag IN (SELECT substr(old.tags, at, 32) FROM nth);
END;

CREATE TABLE lease (
	key       BLOB    NOT NULL PRIMARY KEY,
	owner     BLOB    NOT NULL,
	until     BIGINT  NOT NULL,
	inherited BOOLEAN NOT NULL -- from an owner that neither released nor prolonged it
) WITHOUT ROWID;

CREATE INDEX lease_until ON lease (until);
