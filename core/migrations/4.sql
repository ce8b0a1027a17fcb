-- Version 4: detached workers, which outlive the server and are taken back with their jobs.

CREATE TABLE workers (
    token_sha256 TEXT PRIMARY KEY, plugin TEXT NOT NULL, device TEXT NOT NULL, created REAL NOT NULL,
    UNIQUE (plugin, device)
) STRICT, WITHOUT ROWID;
