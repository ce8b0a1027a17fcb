-- Version 6: results that are there already are given again to jobs that are equal.

ALTER TABLE jobs ADD COLUMN reuse TEXT;   -- 'look' for an equal job as soon as it is queued, 'fresh': only note what it is
ALTER TABLE jobs ADD COLUMN digest TEXT;  -- of all that decides the result; jobs with the same one are equal
CREATE INDEX jobs_reuse ON jobs (plugin, class, rank) WHERE state = 'queued' AND reuse IS NOT NULL;
CREATE INDEX jobs_digest ON jobs (owner, digest, id) WHERE digest IS NOT NULL;
CREATE TRIGGER artifact_goes AFTER DELETE ON artifacts WHEN OLD.job IS NOT NULL BEGIN
    UPDATE jobs SET digest = NULL WHERE id = OLD.job;  -- its results are not whole any more
END;
DROP INDEX jobs_done;
CREATE INDEX jobs_done ON jobs (name, id) WHERE state = 'done' AND attempt > 0;  -- what ran itself tells how long it takes
