-- Who decided that a row of the outbox may leave as it is: the Sender holds it back no more. No employee has a grant on it.
ALTER TABLE outbox ADD COLUMN approved_by text;
