-- Version 2: programs (jobs made of jobs) with what they record, low-memory retries, measured peaks.

ALTER TABLE jobs ADD COLUMN program INTEGER NOT NULL DEFAULT 0;     -- 1: runs in the plugin's side worker
ALTER TABLE jobs ADD COLUMN children INTEGER;                       -- of a program: jobs it has submitted
ALTER TABLE jobs ADD COLUMN children_ended INTEGER;
ALTER TABLE jobs ADD COLUMN low_memory INTEGER NOT NULL DEFAULT 0;  -- 1: the memory did not suffice before
DROP INDEX jobs_ready;
CREATE INDEX jobs_ready ON jobs (plugin, program, class, rank) WHERE state = 'queued';

CREATE TRIGGER child_begins AFTER INSERT ON jobs WHEN NEW.parent IS NOT NULL BEGIN
    UPDATE jobs SET children = coalesce(children, 0) + 1, children_ended = coalesce(children_ended, 0)
    WHERE id = NEW.parent;
END;
CREATE TRIGGER child_ends AFTER UPDATE OF state ON jobs
WHEN NEW.parent IS NOT NULL AND NEW.finished IS NOT NULL AND OLD.finished IS NULL BEGIN
    UPDATE jobs SET children_ended = children_ended + 1 WHERE id = NEW.parent;
END;

CREATE TABLE recorded (                               -- what a program has computed once: ctx.once, ctx.seed
    job TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (job, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE peaks (                                  -- most memory that a worker had while it ran such a job
    job TEXT NOT NULL, device TEXT NOT NULL, size_bytes INTEGER NOT NULL, PRIMARY KEY (job, device)
) STRICT, WITHOUT ROWID;
