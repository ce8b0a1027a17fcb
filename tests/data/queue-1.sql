-- A queue as stable-core with schema 1 left it, with a job in every state.
BEGIN TRANSACTION;
CREATE TABLE artifacts (
    id TEXT PRIMARY KEY, job TEXT, idx INTEGER NOT NULL, kind TEXT NOT NULL,
    sha256 TEXT NOT NULL, size_bytes INTEGER NOT NULL, mime TEXT NOT NULL,
    name TEXT, owner TEXT NOT NULL, session TEXT NOT NULL,
    review TEXT NOT NULL DEFAULT 'new', facts TEXT NOT NULL, created REAL NOT NULL, UNIQUE (job, idx)
) STRICT;
INSERT INTO "artifacts" VALUES('01m7yza70ek55s71gz8qpj0jgp',NULL,0,'text','a37c39ce8c365421e328aac0d932eca2ec1891165c071c159fa8046f567dea8a',11,'text/plain','note.txt','local','portraits','new','{}',1795262061.582);
INSERT INTO "artifacts" VALUES('01m7yza70rz7ynq1ax2nmatg74.0','01m7yza70rz7ynq1ax2nmatg74',0,'text','db35d6cce6d4da47cf3a2bade10e67df41092463057d6239ab0208e8e8170328',22,'text/plain',NULL,'local','portraits','new','{}',1795262062.128);
INSERT INTO "artifacts" VALUES('01m7yza70k0re85zts1t58f17b.0','01m7yza70k0re85zts1t58f17b',0,'text','a1ab115888e45971a8f8b1d512491a9fdc3830c5391b0dba6deee5261a1291dd',9,'text/plain',NULL,'local','default','new','{"seed": 7}',1795262062.184);
INSERT INTO "artifacts" VALUES('01m7yza70vsnm3spe3hb807vys.0','01m7yza70vsnm3spe3hb807vys',0,'text','96573249d62bcf148b9509a33fbcd0f67602331612f62f595c577b1b2711ed4c',18,'text/plain',NULL,'local','default','new','{}',1795262062.198);
INSERT INTO "artifacts" VALUES('01m7yza70x83pfbz6qhyf1gsfj.0','01m7yza70x83pfbz6qhyf1gsfj',0,'text','7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed',3,'text/plain',NULL,'local','default','new','{}',1795262062.203);
INSERT INTO "artifacts" VALUES('01m7yza70x83pfbz6qhyf1gsfj.1','01m7yza70x83pfbz6qhyf1gsfj',1,'text','3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3',3,'text/plain',NULL,'local','default','new','{}',1795262062.204);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT NOT NULL, job TEXT, session TEXT, owner TEXT, body TEXT NOT NULL
) STRICT;
INSERT INTO "events" VALUES(1,'plugins',NULL,NULL,NULL,'{"name": "old", "status": "ready", "error": null}');
INSERT INTO "events" VALUES(2,'artifact',NULL,'portraits','local','{"id": "01m7yza70ek55s71gz8qpj0jgp", "idx": 0, "kind": "text", "sha256": "a37c39ce8c365421e328aac0d932eca2ec1891165c071c159fa8046f567dea8a", "size_bytes": 11, "mime": "text/plain", "name": "note.txt", "owner": "local", "session": "portraits", "review": "new", "facts": {}, "created": 1795262061.582}');
INSERT INTO "events" VALUES(3,'job','01m7yza70k0re85zts1t58f17b','default','local','{"id": "01m7yza70k0re85zts1t58f17b", "name": "old.say", "state": "queued", "session": "default", "client_ref": "once", "attempt": 0}');
INSERT INTO "events" VALUES(4,'job','01m7yza70rz7ynq1ax2nmatg74','portraits','local','{"id": "01m7yza70rz7ynq1ax2nmatg74", "name": "old.twice", "state": "queued", "session": "portraits", "attempt": 0}');
INSERT INTO "events" VALUES(5,'job','01m7yza70vsnm3spe3hb807vys','default','local','{"id": "01m7yza70vsnm3spe3hb807vys", "name": "old.twice", "state": "waiting", "session": "default", "attempt": 0}');
INSERT INTO "events" VALUES(6,'job','01m7yza70x83pfbz6qhyf1gsfj','default','local','{"id": "01m7yza70x83pfbz6qhyf1gsfj", "name": "old.several", "state": "queued", "session": "default", "attempt": 0}');
INSERT INTO "events" VALUES(7,'job','01m7yza711ztcabvfkgckf85yq','default','local','{"id": "01m7yza711ztcabvfkgckf85yq", "name": "old.say", "state": "queued", "session": "default", "attempt": 0}');
INSERT INTO "events" VALUES(8,'job','01m7yza70rz7ynq1ax2nmatg74','portraits','local','{"id": "01m7yza70rz7ynq1ax2nmatg74", "name": "old.twice", "state": "running", "session": "portraits", "attempt": 1}');
INSERT INTO "events" VALUES(9,'artifact','01m7yza70rz7ynq1ax2nmatg74','portraits','local','{"id": "01m7yza70rz7ynq1ax2nmatg74.0", "kind": "text", "sha256": "db35d6cce6d4da47cf3a2bade10e67df41092463057d6239ab0208e8e8170328", "size_bytes": 22, "facts": {}, "owner": "local", "session": "portraits", "job": "01m7yza70rz7ynq1ax2nmatg74", "review": "new", "idx": 0, "created": 1795262062.128, "mime": "text/plain"}');
INSERT INTO "events" VALUES(10,'job','01m7yza70rz7ynq1ax2nmatg74','portraits','local','{"id": "01m7yza70rz7ynq1ax2nmatg74", "name": "old.twice", "state": "done", "session": "portraits", "attempt": 1, "outputs": ["01m7yza70rz7ynq1ax2nmatg74.0"]}');
INSERT INTO "events" VALUES(11,'job','01m7yza70k0re85zts1t58f17b','default','local','{"id": "01m7yza70k0re85zts1t58f17b", "name": "old.say", "state": "running", "session": "default", "client_ref": "once", "attempt": 1}');
INSERT INTO "events" VALUES(12,'artifact','01m7yza70k0re85zts1t58f17b','default','local','{"id": "01m7yza70k0re85zts1t58f17b.0", "kind": "text", "sha256": "a1ab115888e45971a8f8b1d512491a9fdc3830c5391b0dba6deee5261a1291dd", "size_bytes": 9, "facts": {"seed": 7}, "owner": "local", "session": "default", "job": "01m7yza70k0re85zts1t58f17b", "review": "new", "idx": 0, "created": 1795262062.184, "mime": "text/plain"}');
INSERT INTO "events" VALUES(13,'job','01m7yza70k0re85zts1t58f17b','default','local','{"id": "01m7yza70k0re85zts1t58f17b", "name": "old.say", "state": "done", "session": "default", "client_ref": "once", "attempt": 1, "outputs": ["01m7yza70k0re85zts1t58f17b.0"]}');
INSERT INTO "events" VALUES(14,'job','01m7yza70vsnm3spe3hb807vys','default','local','{"id": "01m7yza70vsnm3spe3hb807vys", "name": "old.twice", "state": "queued", "session": "default", "attempt": 0}');
INSERT INTO "events" VALUES(15,'job','01m7yza711ztcabvfkgckf85yq','default','local','{"id": "01m7yza711ztcabvfkgckf85yq", "name": "old.say", "state": "running", "session": "default", "attempt": 1}');
INSERT INTO "events" VALUES(16,'job','01m7yza711ztcabvfkgckf85yq','default','local','{"id": "01m7yza711ztcabvfkgckf85yq", "name": "old.say", "state": "failed", "session": "default", "attempt": 1, "error": {"code": "plugin_error", "message": "old: ValueError: as asked"}, "outputs": []}');
INSERT INTO "events" VALUES(17,'job','01m7yza70vsnm3spe3hb807vys','default','local','{"id": "01m7yza70vsnm3spe3hb807vys", "name": "old.twice", "state": "running", "session": "default", "attempt": 1}');
INSERT INTO "events" VALUES(18,'artifact','01m7yza70vsnm3spe3hb807vys','default','local','{"id": "01m7yza70vsnm3spe3hb807vys.0", "kind": "text", "sha256": "96573249d62bcf148b9509a33fbcd0f67602331612f62f595c577b1b2711ed4c", "size_bytes": 18, "facts": {}, "owner": "local", "session": "default", "job": "01m7yza70vsnm3spe3hb807vys", "review": "new", "idx": 0, "created": 1795262062.198, "mime": "text/plain"}');
INSERT INTO "events" VALUES(19,'job','01m7yza70vsnm3spe3hb807vys','default','local','{"id": "01m7yza70vsnm3spe3hb807vys", "name": "old.twice", "state": "done", "session": "default", "attempt": 1, "outputs": ["01m7yza70vsnm3spe3hb807vys.0"]}');
INSERT INTO "events" VALUES(20,'job','01m7yza70x83pfbz6qhyf1gsfj','default','local','{"id": "01m7yza70x83pfbz6qhyf1gsfj", "name": "old.several", "state": "running", "session": "default", "attempt": 1}');
INSERT INTO "events" VALUES(21,'artifact','01m7yza70x83pfbz6qhyf1gsfj','default','local','{"id": "01m7yza70x83pfbz6qhyf1gsfj.0", "kind": "text", "sha256": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed", "size_bytes": 3, "facts": {}, "owner": "local", "session": "default", "job": "01m7yza70x83pfbz6qhyf1gsfj", "review": "new", "idx": 0, "created": 1795262062.203, "mime": "text/plain"}');
INSERT INTO "events" VALUES(22,'artifact','01m7yza70x83pfbz6qhyf1gsfj','default','local','{"id": "01m7yza70x83pfbz6qhyf1gsfj.1", "kind": "text", "sha256": "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3", "size_bytes": 3, "facts": {}, "owner": "local", "session": "default", "job": "01m7yza70x83pfbz6qhyf1gsfj", "review": "new", "idx": 1, "created": 1795262062.204, "mime": "text/plain"}');
INSERT INTO "events" VALUES(23,'job','01m7yza70x83pfbz6qhyf1gsfj','default','local','{"id": "01m7yza70x83pfbz6qhyf1gsfj", "name": "old.several", "state": "done", "session": "default", "attempt": 1, "outputs": ["01m7yza70x83pfbz6qhyf1gsfj.0", "01m7yza70x83pfbz6qhyf1gsfj.1"]}');
INSERT INTO "events" VALUES(24,'job','01m7yza7kzrvjmfm73r5bqw4z9','default','local','{"id": "01m7yza7kzrvjmfm73r5bqw4z9", "name": "old.say", "state": "held", "session": "default", "attempt": 0}');
INSERT INTO "events" VALUES(25,'job','01m7yza7m1fcykbs4p9pfbvpbw','default','local','{"id": "01m7yza7m1fcykbs4p9pfbvpbw", "name": "old.say", "state": "held", "session": "default", "attempt": 0}');
INSERT INTO "events" VALUES(26,'job','01m7yza7m1fcykbs4p9pfbvpbw','default','local','{"id": "01m7yza7m1fcykbs4p9pfbvpbw", "name": "old.say", "state": "cancelled", "session": "default", "attempt": 0, "error": {"code": "cancelled", "message": "the job was cancelled before it ran.", "job": "01m7yza7m1fcykbs4p9pfbvpbw"}, "outputs": []}');
INSERT INTO "events" VALUES(27,'job','01m7yza7meyb7nkrfsvng733js','default','local','{"id": "01m7yza7meyb7nkrfsvng733js", "name": "old.say", "state": "queued", "session": "default", "attempt": 0}');
INSERT INTO "events" VALUES(28,'job','01m7yza7meyb7nkrfsvng733js','default','local','{"id": "01m7yza7meyb7nkrfsvng733js", "name": "old.say", "state": "running", "session": "default", "attempt": 1}');
INSERT INTO "events" VALUES(29,'job','01m7yza7mm4zh0xcq5kvknppsd','default','local','{"id": "01m7yza7mm4zh0xcq5kvknppsd", "name": "old.twice", "state": "waiting", "session": "default", "attempt": 0}');
INSERT INTO "events" VALUES(30,'job','01m7yza7mpgqzh6kx5dk7xfxwe','default','local','{"id": "01m7yza7mpgqzh6kx5dk7xfxwe", "name": "old.say", "state": "queued", "session": "default", "attempt": 0}');
INSERT INTO "events" VALUES(31,'job','01m7yza7mt826yenm56sg46z4j','default','local','{"id": "01m7yza7mt826yenm56sg46z4j", "name": "old.say", "state": "queued", "session": "default", "attempt": 0}');
INSERT INTO "events" VALUES(32,'job','01m7yza7mxm6tj52qkd1yzg9n3','default','local','{"id": "01m7yza7mxm6tj52qkd1yzg9n3", "name": "old.say", "state": "queued", "session": "default", "attempt": 0}');
INSERT INTO "events" VALUES(33,'job','01m7yza7n3dsh83rhstwfgc6hk','default','local','{"id": "01m7yza7n3dsh83rhstwfgc6hk", "name": "old.say", "state": "queued", "session": "default", "attempt": 0}');
INSERT INTO "events" VALUES(34,'job','01m7yza7n3dsh83rhstwfgc6hk','default','local','{"id": "01m7yza7n3dsh83rhstwfgc6hk", "name": "old.say", "state": "cancelled", "session": "default", "attempt": 0, "error": {"code": "cancelled", "message": "the job was cancelled before it ran.", "job": "01m7yza7n3dsh83rhstwfgc6hk"}, "outputs": []}');
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
INSERT INTO "jobs" VALUES('01m7yza70k0re85zts1t58f17b','old.say','old','done','normal',1,1.0,'local','default','once',NULL,NULL,'{"text": "first \u2603", "seconds": 0, "model": "a"}','{}','full','1',1795262061.587,'"a"',1795262061.587,1795262061.587,1795262062.179,1795262062.184,1,NULL,'old@cpu',0,0,NULL,NULL,'{"encode_seconds": 0.0005, "total_seconds": 0.0013, "memory_bytes": 46141440.0, "queue_seconds": 0.592}');
INSERT INTO "jobs" VALUES('01m7yza70rz7ynq1ax2nmatg74','old.twice','old','done','interactive',0,1.0,'local','portraits',NULL,NULL,NULL,'{}','{"text": ["01m7yza70ek55s71gz8qpj0jgp"]}','full','1',1795262061.593,'null',1795262061.593,1795262061.593,1795262062.123,1795262062.177,1,NULL,'old@cpu',0,0,NULL,NULL,'{"load_seconds": 0.0, "encode_seconds": 0.0007, "total_seconds": 0.0014, "memory_bytes": 45993984.0, "queue_seconds": 0.53}');
INSERT INTO "jobs" VALUES('01m7yza70vsnm3spe3hb807vys','old.twice','old','done','normal',1,2.0,'local','default',NULL,NULL,NULL,'{}','{"text": [{"job": "01m7yza70k0re85zts1t58f17b"}]}','full','1',1795262061.595,'null',1795262061.595,1795262062.184,1795262062.192,1795262062.199,1,NULL,'old@cpu',0,0,NULL,NULL,'{"encode_seconds": 0.0004, "total_seconds": 0.0007, "memory_bytes": 46178304.0, "queue_seconds": 0.008}');
INSERT INTO "jobs" VALUES('01m7yza70x83pfbz6qhyf1gsfj','old.several','old','done','batch',2,1.0,'local','default',NULL,NULL,NULL,'{}','{}','none','1',1795262061.597,'null',1795262061.597,1795262061.597,1795262062.199,1795262062.204,1,NULL,'old@cpu',0,0,NULL,NULL,'{"encode_seconds": 0.001, "total_seconds": 0.0014, "memory_bytes": 46182400.0, "queue_seconds": 0.602}');
INSERT INTO "jobs" VALUES('01m7yza711ztcabvfkgckf85yq','old.say','old','failed','normal',1,3.0,'local','default',NULL,NULL,NULL,'{"text": "fail", "seconds": 0, "model": "a"}','{}','full','1',1795262061.601,'"a"',1795262061.601,1795262061.601,1795262062.186,1795262062.191,1,NULL,'old@cpu',0,0,NULL,'{"code": "plugin_error", "message": "old: ValueError: as asked"}','{"total_seconds": 0.0015, "memory_bytes": 46170112.0, "queue_seconds": 0.585}');
INSERT INTO "jobs" VALUES('01m7yza7kzrvjmfm73r5bqw4z9','old.say','old','held','normal',1,4.0,'local','default',NULL,NULL,NULL,'{"text": "hello", "seconds": 0, "model": "a"}','{}','full','1',1795262062.208,'"a"',1795262062.208,1795262062.208,NULL,NULL,0,NULL,NULL,0,0,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES('01m7yza7m1fcykbs4p9pfbvpbw','old.say','old','cancelled','normal',1,5.0,'local','default',NULL,NULL,NULL,'{"text": "hello", "seconds": 0, "model": "a"}','{}','full','1',1795262062.21,'"a"',1795262062.21,1795262062.21,NULL,1795262062.219,0,NULL,NULL,0,0,NULL,'{"code": "cancelled", "message": "the job was cancelled before it ran.", "job": "01m7yza7m1fcykbs4p9pfbvpbw"}',NULL);
INSERT INTO "jobs" VALUES('01m7yza7meyb7nkrfsvng733js','old.say','old','running','normal',1,6.0,'local','default',NULL,NULL,NULL,'{"text": "running", "seconds": 60, "model": "a"}','{}','full','1',1795262062.222,'"a"',1795262062.222,1795262062.222,1795262062.223,NULL,1,'01m7yza7meyb7nkrfsvng733jt','old@cpu',0,0,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES('01m7yza7mm4zh0xcq5kvknppsd','old.twice','old','waiting','normal',1,7.0,'local','default',NULL,NULL,NULL,'{}','{"text": [{"job": "01m7yza7meyb7nkrfsvng733js"}]}','full','1',1795262062.228,'null',1795262062.228,1795262062.228,NULL,NULL,0,NULL,NULL,0,0,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES('01m7yza7mpgqzh6kx5dk7xfxwe','old.say','old','queued','interactive',0,2.0,'local','default',NULL,NULL,NULL,'{"text": "0", "seconds": 0, "model": "a"}','{}','full','1',1795262062.231,'"a"',1795262062.231,1795262062.231,NULL,NULL,0,NULL,NULL,0,0,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES('01m7yza7mt826yenm56sg46z4j','old.say','old','queued','normal',1,8.0,'local','default',NULL,NULL,NULL,'{"text": "1", "seconds": 0, "model": "a"}','{}','full','1',1795262062.234,'"a"',1795262062.234,1795262062.234,NULL,NULL,0,NULL,NULL,0,0,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES('01m7yza7mxm6tj52qkd1yzg9n3','old.say','old','queued','batch',2,2.0,'local','default',NULL,NULL,NULL,'{"text": "2", "seconds": 0, "model": "a"}','{}','full','1',1795262062.238,'"a"',1795262062.238,1795262062.238,NULL,NULL,0,NULL,NULL,0,0,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES('01m7yza7n3dsh83rhstwfgc6hk','old.say','old','cancelled','normal',1,9.0,'local','default',NULL,NULL,NULL,'{"text": "hello", "seconds": 0, "model": "a"}','{}','full','1',1795262062.243,'"a"',1795262062.243,1795262062.243,NULL,1795262062.247,0,NULL,NULL,0,0,NULL,'{"code": "cancelled", "message": "the job was cancelled before it ran.", "job": "01m7yza7n3dsh83rhstwfgc6hk"}',NULL);
CREATE TABLE lanes (                                  -- how much an owner has asked for, and how far its ranks are
    owner TEXT NOT NULL, plugin TEXT NOT NULL, priority TEXT NOT NULL,
    unfinished INTEGER NOT NULL, rank REAL NOT NULL, PRIMARY KEY (owner, plugin, priority)
) STRICT, WITHOUT ROWID;
INSERT INTO "lanes" VALUES('local','old','batch',1,2.0);
INSERT INTO "lanes" VALUES('local','old','interactive',1,2.0);
INSERT INTO "lanes" VALUES('local','old','normal',4,9.0);
CREATE TABLE links (parent TEXT NOT NULL, child TEXT NOT NULL, PRIMARY KEY (parent, child)) STRICT, WITHOUT ROWID;
INSERT INTO "links" VALUES('01m7yza70ek55s71gz8qpj0jgp','01m7yza70rz7ynq1ax2nmatg74.0');
INSERT INTO "links" VALUES('01m7yza70k0re85zts1t58f17b.0','01m7yza70vsnm3spe3hb807vys.0');
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE sessions (
    id TEXT NOT NULL, owner TEXT NOT NULL, name TEXT NOT NULL, created REAL NOT NULL,
    memorised TEXT NOT NULL DEFAULT '{}', PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;
INSERT INTO "sessions" VALUES('default','local','default',1795262061.587,'{}');
INSERT INTO "sessions" VALUES('portraits','local','Portraits',1795262061.582,'{"old.say": {"text": "hi"}}');
CREATE TABLE waits (job TEXT NOT NULL, needs TEXT NOT NULL, PRIMARY KEY (job, needs)) STRICT, WITHOUT ROWID;
INSERT INTO "waits" VALUES('01m7yza7mm4zh0xcq5kvknppsd','01m7yza7meyb7nkrfsvng733js');
CREATE UNIQUE INDEX jobs_client_ref ON jobs (owner, client_ref) WHERE client_ref IS NOT NULL;
CREATE UNIQUE INDEX jobs_key ON jobs (parent, key) WHERE parent IS NOT NULL;
CREATE INDEX jobs_ready ON jobs (plugin, class, rank) WHERE state = 'queued';
CREATE INDEX jobs_aging ON jobs (aged) WHERE state = 'queued' AND class > 0;
CREATE INDEX jobs_done ON jobs (name, id) WHERE state = 'done';
CREATE INDEX jobs_state ON jobs (state, id);
CREATE INDEX jobs_owner ON jobs (owner, id);
CREATE INDEX jobs_session ON jobs (owner, session, id);
CREATE INDEX waits_needs ON waits (needs);
CREATE TRIGGER job_begins AFTER INSERT ON jobs BEGIN
    INSERT INTO lanes VALUES (NEW.owner, NEW.plugin, NEW.priority, 1, NEW.rank)
    ON CONFLICT DO UPDATE SET unfinished = unfinished + 1, rank = NEW.rank;
END;
CREATE TRIGGER job_ends AFTER UPDATE OF state ON jobs WHEN NEW.finished IS NOT NULL AND OLD.finished IS NULL BEGIN
    UPDATE lanes SET unfinished = unfinished - 1
    WHERE owner = NEW.owner AND plugin = NEW.plugin AND priority = NEW.priority;
    DELETE FROM waits WHERE job = NEW.id;
END;
CREATE INDEX artifacts_owner ON artifacts (owner, id);
CREATE INDEX artifacts_session ON artifacts (owner, session, id);
CREATE INDEX links_child ON links (child);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',34);
COMMIT;
PRAGMA user_version = 1;
