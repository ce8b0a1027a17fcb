-- Version 3: what sessions remember and since when, recognised uploads, reviews and what nobody needs any more.

ALTER TABLE sessions ADD COLUMN memorised_at TEXT NOT NULL DEFAULT '{}';  -- by job name: the id of that moment
ALTER TABLE artifacts ADD COLUMN source TEXT;         -- of an upload: the artifact that its file was
CREATE INDEX jobs_memorised ON jobs (owner, session, name, id) WHERE parent IS NULL;
CREATE INDEX artifacts_sha256 ON artifacts (sha256);
CREATE INDEX artifacts_picked ON artifacts (id) WHERE review = 'picked';
