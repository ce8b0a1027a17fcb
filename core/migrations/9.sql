-- Version 9: a program that goes on from an earlier one begins with what that has recorded.

CREATE TRIGGER job_extends AFTER INSERT ON jobs WHEN NEW.extends IS NOT NULL BEGIN
    INSERT INTO recorded SELECT NEW.id, key, value FROM recorded WHERE job = NEW.extends;
END;
