-- Version 7: the newest lines that jobs have written, and what the server said about plugins.

CREATE TABLE logs (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, owner TEXT NOT NULL,
    job TEXT,                                         -- NULL: about a plugin
    name TEXT NOT NULL,                               -- plugin.job, or the plugin
    text TEXT NOT NULL
) STRICT;
CREATE INDEX logs_job ON logs (job, id);
CREATE INDEX logs_owner ON logs (owner, id);
