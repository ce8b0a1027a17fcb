-- Version 1: jobs and what they wait for, artifacts and their links, sessions, events.

CREATE TABLE jobs (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, plugin TEXT NOT NULL, state TEXT NOT NULL,
    priority TEXT NOT NULL, class INTEGER NOT NULL,   -- class: the priority as a number, 0 first; falls with waiting
    rank REAL NOT NULL,                               -- smaller runs first inside a class; see Scheduler
    owner TEXT NOT NULL, session TEXT NOT NULL, client_ref TEXT,
    parent TEXT, key TEXT,                            -- child of a program, found again by its key
    params TEXT NOT NULL, inputs TEXT NOT NULL, embed_metadata TEXT NOT NULL, version TEXT,
    aged REAL NOT NULL,                               -- since when it is in its class
    warmth TEXT,                                      -- value of the parameter that decides which model is warm
    created REAL NOT NULL, queued REAL NOT NULL, started REAL, finished REAL,
    attempt INTEGER NOT NULL DEFAULT 0, lease TEXT, worker TEXT,
    deaths INTEGER NOT NULL DEFAULT 0,                -- workers that ended while this job was alone in them
    alone INTEGER NOT NULL DEFAULT 0,                 -- 1: it was there when a worker ended, so it runs alone
    cancel TEXT,                                      -- 'discard' or 'keep' once asked for
    error TEXT, metrics TEXT
) STRICT;
CREATE UNIQUE INDEX jobs_client_ref ON jobs (owner, client_ref) WHERE client_ref IS NOT NULL;
CREATE UNIQUE INDEX jobs_key ON jobs (parent, key) WHERE parent IS NOT NULL;
CREATE INDEX jobs_ready ON jobs (plugin, class, rank) WHERE state = 'queued';
CREATE INDEX jobs_aging ON jobs (aged) WHERE state = 'queued' AND class > 0;
CREATE INDEX jobs_done ON jobs (name, id) WHERE state = 'done';
CREATE INDEX jobs_state ON jobs (state, id);
CREATE INDEX jobs_owner ON jobs (owner, id);
CREATE INDEX jobs_session ON jobs (owner, session, id);

CREATE TABLE waits (job TEXT NOT NULL, needs TEXT NOT NULL, PRIMARY KEY (job, needs)) STRICT, WITHOUT ROWID;
CREATE INDEX waits_needs ON waits (needs);

CREATE TABLE lanes (                                  -- how much an owner has asked for, and how far its ranks are
    owner TEXT NOT NULL, plugin TEXT NOT NULL, priority TEXT NOT NULL,
    unfinished INTEGER NOT NULL, rank REAL NOT NULL, PRIMARY KEY (owner, plugin, priority)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER job_begins AFTER INSERT ON jobs BEGIN
    INSERT INTO lanes VALUES (NEW.owner, NEW.plugin, NEW.priority, 1, NEW.rank)
    ON CONFLICT DO UPDATE SET unfinished = unfinished + 1, rank = NEW.rank;
END;
CREATE TRIGGER job_ends AFTER UPDATE OF state ON jobs WHEN NEW.finished IS NOT NULL AND OLD.finished IS NULL BEGIN
    UPDATE lanes SET unfinished = unfinished - 1
    WHERE owner = NEW.owner AND plugin = NEW.plugin AND priority = NEW.priority;
    DELETE FROM waits WHERE job = NEW.id;
END;

CREATE TABLE artifacts (
    id TEXT PRIMARY KEY, job TEXT, idx INTEGER NOT NULL, kind TEXT NOT NULL,
    sha256 TEXT NOT NULL, size_bytes INTEGER NOT NULL, mime TEXT NOT NULL,
    name TEXT, owner TEXT NOT NULL, session TEXT NOT NULL,
    review TEXT NOT NULL DEFAULT 'new', facts TEXT NOT NULL, created REAL NOT NULL, UNIQUE (job, idx)
) STRICT;
CREATE INDEX artifacts_owner ON artifacts (owner, id);
CREATE INDEX artifacts_session ON artifacts (owner, session, id);
CREATE TABLE links (parent TEXT NOT NULL, child TEXT NOT NULL, PRIMARY KEY (parent, child)) STRICT, WITHOUT ROWID;
CREATE INDEX links_child ON links (child);

CREATE TABLE sessions (
    id TEXT NOT NULL, owner TEXT NOT NULL, name TEXT NOT NULL, created REAL NOT NULL,
    memorised TEXT NOT NULL DEFAULT '{}', PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT NOT NULL, job TEXT, session TEXT, owner TEXT, body TEXT NOT NULL
) STRICT;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
