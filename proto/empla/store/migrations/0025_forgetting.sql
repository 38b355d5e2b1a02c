-- What was forgotten is read by its employee no more, though the message that said it stays on record.

ALTER TABLE inbound_messages ADD COLUMN forgotten boolean NOT NULL DEFAULT false; -- it is no turn of its conversation any more
ALTER TABLE planning ADD COLUMN forgets bigint NOT NULL DEFAULT 0; -- grows when something is forgotten, so that no plan is kept that was made before
