-- What a restored database has to be told before anybody goes on with it. All of it is one transaction with the rows.

-- name: hold_triggers
-- Rows come as they were: nothing follows from that they are written.
ALTER TABLE {table} DISABLE TRIGGER USER;

-- name: release_triggers
-- From now on it does again.
ALTER TABLE {table} ENABLE TRIGGER USER;

-- name: fence
-- No process of the old installation is anybody's here, whoever it asks.
UPDATE employee_epochs SET epoch = epoch + 1, credential_hash = NULL, process = NULL, ended_at = now(), restored_at = now();

-- name: stop
-- Nobody works until an operator says so: those of the old installation may still do.
UPDATE employees SET desired_state = 'stopped' WHERE desired_state <> 'stopped';

-- name: mark
-- The messages that the old installation may have gone on with: those that had not come to their end, in whole or in part.
UPDATE inbound_messages SET restored_at = now() WHERE ended_at IS NULL
  OR message_id IN (SELECT message_id FROM message_workers WHERE state IN ('running', 'waiting_for_input', 'failed'));

-- name: begin_sending
-- What waited to be sent may have been sent since; to say so is to say that it was begun. What is read from the table, $1, was not.
UPDATE outbox o SET state = 'sending', attempt = o.attempt + 1, started_at = now(), claimed_by = NULL
FROM inbound_messages m JOIN channels c USING (channel_id)
WHERE m.message_id = o.message_id AND o.state = 'queued' AND NOT c.kind = ANY ($1::text[]);

-- name: doubt_sent
-- A person decides about what may have been sent, each row with the message that it answers and the record of the attempt.
WITH doubtful AS (
  UPDATE outbox o SET state = 'unknown_after_send', reason = $2, ended_at = now()
  FROM inbound_messages m JOIN channels c USING (channel_id)
  WHERE m.message_id = o.message_id AND o.state = 'sending' AND NOT c.kind = ANY ($1::text[])
  RETURNING o.*
), moved AS (
  UPDATE inbound_messages m SET processing_state = 'waiting', step = 'send', reason = $2 FROM doubtful d
  WHERE m.message_id = d.message_id AND d.kind = 'reply' AND m.processing_state = 'sending' AND m.step = 'send'
), recorded AS (
  INSERT INTO step_attempts (unit_id, step, attempt, message_id, tenant_id, employee_id, stage, epoch, queued_at, started_at,
    duration_ms, outcome, error)
  SELECT message_id, CASE kind WHEN 'reply' THEN 'send' ELSE 'send_' || kind END, attempt, message_id, tenant_id, employee_id,
    'send', epoch, queued_at, started_at, 0, 'failed', $2 FROM doubtful
  ON CONFLICT DO NOTHING
), asked AS (
  INSERT INTO reviews (review_id, tenant_id, employee_id, message_id, outbox_id, kind, reason, payload)
  SELECT gen_random_uuid(), tenant_id, employee_id, message_id, outbox_id, 'unknown_after_send', $2,
    jsonb_build_object('text', body, 'kind', kind) FROM doubtful
)
SELECT count(*) FROM doubtful;

-- name: doubt_reviews
-- What waited for a person may have been decided since.
UPDATE reviews SET reason = concat_ws('; ', NULLIF(reason, ''), $1::text) WHERE state = 'open';

-- name: record
-- That it was restored, for every tenant.
INSERT INTO audit_log (tenant_id, actor, action, subject, detail) SELECT tenant_id, 'empla', 'restore', $1, $2 FROM tenants;
