-- Long work: a worker whose message has its reply goes on in the background, in stretches of which each is a move of its own.
--
-- What it reports now and then is a row of the outbox of its own kind, written with the stretch that it reports. To stop it, the
-- control plane notes who wants that; the employee reads it before it asks its model again, and may not write it.

ALTER TABLE message_workers DROP CONSTRAINT message_workers_state_check, ADD CONSTRAINT message_workers_state_check
  CHECK (state IN ('running', 'waiting_for_input', 'done', 'failed', 'cancelled'));
ALTER TABLE message_workers ADD COLUMN cancelled_by text, ADD COLUMN cancel_reason text NOT NULL DEFAULT '';
ALTER TABLE outbox DROP CONSTRAINT outbox_kind_check, ADD CONSTRAINT outbox_kind_check
  CHECK (kind IN ('reply', 'follow_up', 'notice', 'progress', 'proactive'));

INSERT INTO state_edges VALUES
  ('worker', 'running', 'action_planning', 'running', 'background', 'employee'),
  ('worker', 'running', 'background', 'running', 'draft_generation', 'employee'),
  ('worker', 'running', 'background', 'waiting_for_input', 'background', 'employee'),
  ('worker', 'running', 'background', 'failed', 'background', 'employee'),
  ('worker', 'running', 'background', 'cancelled', '', 'employee'),
  ('worker', 'waiting_for_input', 'background', 'running', 'background', 'employee'),
  ('worker', 'waiting_for_input', 'background', 'failed', 'background', 'employee'),
  ('worker', 'failed', 'background', 'running', 'background', 'employee');
