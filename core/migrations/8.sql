-- Version 8: programs that go on from earlier ones, and results with names that programs give.

ALTER TABLE jobs ADD COLUMN extends TEXT;             -- of a program: the one that it goes on from, itself if in place
CREATE TABLE taken (                                  -- jobs of earlier programs whose results it goes on with
    program TEXT NOT NULL, child TEXT NOT NULL, PRIMARY KEY (program, child)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER child_taken AFTER INSERT ON taken BEGIN
    UPDATE jobs SET children = coalesce(children, 0) + 1, children_ended = coalesce(children_ended, 0) + 1
    WHERE id = NEW.program;
END;
CREATE TRIGGER job_goes AFTER DELETE ON jobs BEGIN
    DELETE FROM taken WHERE program = OLD.id OR child = OLD.id;
END;
CREATE INDEX taken_child ON taken (child);
ALTER TABLE artifacts ADD COLUMN path TEXT;           -- in the outputs folder, of one that a program has named
CREATE UNIQUE INDEX artifacts_path ON artifacts (path) WHERE path IS NOT NULL;
