-- Version 5: what lists of jobs and of sessions are read from.

DROP INDEX jobs_state;
CREATE INDEX jobs_state ON jobs (state, owner, id);
CREATE INDEX jobs_parent ON jobs (parent, id) WHERE parent IS NOT NULL;
CREATE INDEX sessions_created ON sessions (owner, created, id);
