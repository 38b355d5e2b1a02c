-- name: conversation
-- What of a conversation can be stopped: messages that have not ended, parts of others that go on or wait, and what is not sent yet.
WITH told AS MATERIALIZED (
  SELECT m.message_id, m.ended_at FROM conversations v JOIN inbound_messages m USING (conversation_id)
  WHERE v.channel_id = $1 AND v.employee_id = $2 AND v.external_id = $3
)
SELECT message_id FROM told WHERE ended_at IS NULL
UNION
SELECT message_id FROM told JOIN message_workers w USING (message_id)
WHERE w.employee_id = $2 AND w.state IN ('running', 'waiting_for_input')
UNION
SELECT message_id FROM told JOIN outbox o USING (message_id) WHERE o.state IN ('queued', 'held') AND o.kind <> 'notice';

-- name: hold_outbox
-- First lock: waits for the Sender's writes about what is not sent yet. The order of the locks is that of everybody.
SELECT FROM outbox WHERE message_id = ANY ($1::uuid[]) AND state IN ('queued', 'held') ORDER BY outbox_id FOR UPDATE;

-- name: hold_employee
-- Second lock of what stores a message as well: waits for a deletion.
SELECT FROM employees WHERE employee_id = $1 FOR KEY SHARE;

-- name: hold_messages
-- Next lock: waits for moves of the messages, and says where they stand.
SELECT message_id, tenant_id, employee_id, processing_state AS state, step, epoch IS NOT NULL AS claimed, ended_at IS NOT NULL AS ended,
  cancelled_by
FROM inbound_messages WHERE message_id = ANY ($1::uuid[]) AND ($2::uuid IS NULL OR tenant_id = $2)
ORDER BY sequence FOR NO KEY UPDATE;

-- name: hold_workers
-- Last lock before that of the conversation, which a part that ends takes after its own row.
SELECT FROM message_workers WHERE message_id = ANY ($1::uuid[]) AND state IN ('running', 'waiting_for_input')
ORDER BY worker_id FOR NO KEY UPDATE;

-- name: mark_workers
-- Notes on the workers that have not ended who wants them stopped; those that had that noted stay as they are.
UPDATE message_workers SET cancelled_by = $2, cancel_reason = $3, cancelled_with = $4
WHERE message_id = ANY ($1::uuid[]) AND state IN ('running', 'waiting_for_input') AND cancelled_by IS NULL
RETURNING message_id, state;

-- name: withhold
-- What is not sent yet leaves no more; notices do, for their senders are owed them.
UPDATE outbox SET state = 'withheld', reason = $2, ended_at = now()
WHERE message_id = ANY ($1::uuid[]) AND state IN ('queued', 'held') AND kind <> 'notice'
RETURNING outbox_id, message_id, kind;

-- name: close_drafts
-- Nobody needs to decide about a draft that was withheld.
UPDATE reviews SET state = 'resolved', resolved_by = $2, resolved_at = now(),
  decision = jsonb_build_object('decision', 'cancel', 'reason', $3::text)
WHERE outbox_id = ANY ($1::uuid[]) AND state = 'open';

-- name: mark_messages
-- Notes on messages who wants them stopped. Those in $5 have no employee that would end them, and are ended with it.
UPDATE inbound_messages SET cancelled_by = $2, cancel_reason = $3, cancelled_with = $4, cancelled_at = now(),
  processing_state = CASE WHEN message_id = ANY ($5::uuid[]) THEN 'withheld' ELSE processing_state END,
  step = CASE WHEN message_id = ANY ($5::uuid[]) THEN '' ELSE step END,
  reason = CASE WHEN message_id = ANY ($5::uuid[]) THEN $6 ELSE reason END,
  ended_at = CASE WHEN message_id = ANY ($5::uuid[]) THEN now() ELSE ended_at END
WHERE message_id = ANY ($1::uuid[]);

-- name: answer
-- Answers a message that says /stop, which no employee has to do.
WITH answered AS (
  UPDATE inbound_messages SET processing_state = 'sending', step = 'send' WHERE message_id = $1
  RETURNING message_id, tenant_id, employee_id, conversation_id
)
INSERT INTO outbox (outbox_id, tenant_id, employee_id, message_id, conversation_id, kind, body, approved_by, epoch)
SELECT $2, a.tenant_id, a.employee_id, a.message_id, a.conversation_id, 'reply', $3, 'empla', e.epoch
FROM answered a JOIN employee_epochs e USING (employee_id);
