-- name: due
-- What waits to be sent and may be tried now, with what decides whether and where it goes. Of a conversation this is the first row
-- that answers the earliest message of those that have something to send: replies leave in the order of what they answer, and what
-- follows one after it.
-- Tenants take turns, and within a tenant its employees; what is being sent counts, and of neither are there more than its share.
WITH live AS MATERIALIZED (
  SELECT o.outbox_id, o.tenant_id, o.employee_id, o.state, o.queued_at, o.next_at, m.sequence,
    first_value(o.outbox_id) OVER (PARTITION BY m.conversation_id ORDER BY m.sequence, o.queued_at, o.outbox_id) AS first
  FROM outbox o LEFT JOIN inbound_messages m ON m.message_id = o.message_id
  WHERE o.state IN ('queued', 'sending')
), of_employees AS (
  SELECT outbox_id, tenant_id, state, queued_at,
    row_number() OVER (PARTITION BY employee_id ORDER BY state = 'queued', queued_at, outbox_id) AS turn
  FROM live
  WHERE state = 'sending' OR ((next_at IS NULL OR next_at <= now()) AND (sequence IS NULL OR outbox_id = first))
), of_tenants AS (
  SELECT outbox_id, state, row_number() OVER (PARTITION BY tenant_id ORDER BY state = 'queued', turn, queued_at, outbox_id) AS turn
  FROM of_employees WHERE turn <= $2
)
SELECT o.outbox_id, o.message_id, o.employee_id, o.tenant_id, o.kind, o.body, o.proposal, o.approved_by, o.attempt, m.event_id, m.sender,
  c.kind AS channel, c.disabled_at, c.callback_url, c.secret, v.external_id AS conversation, e.autonomy, e.name AS employee, m.trace_context,
  m.restored_at IS NOT NULL
    OR EXISTS (SELECT FROM inbound_messages f WHERE f.collected_into = m.message_id AND f.restored_at IS NOT NULL) AS restored
FROM of_tenants t
JOIN outbox o ON o.outbox_id = t.outbox_id
JOIN employees e ON e.employee_id = o.employee_id
LEFT JOIN inbound_messages m ON m.message_id = o.message_id
LEFT JOIN conversations v ON v.conversation_id = m.conversation_id
LEFT JOIN channels c ON c.channel_id = m.channel_id
WHERE t.state = 'queued' AND t.turn <= $3
ORDER BY t.turn, o.queued_at LIMIT $1;

-- name: claim
-- Takes rows for sending as they were read; one that anybody has moved since, even there and back, is not returned.
UPDATE outbox o SET state = 'sending', attempt = o.attempt + 1, started_at = now(), claimed_by = $3
FROM unnest($1::uuid[], $2::integer[]) AS read (outbox_id, attempt)
WHERE o.outbox_id = read.outbox_id AND o.attempt = read.attempt AND o.state = 'queued' RETURNING o.outbox_id;

-- name: settle
-- Ends a sending with its receipt, moves the message that it answers, and records the attempt, all or nothing; nothing of it when
-- the row is no longer as it was read: then another control plane has settled it, and a person may have decided about it since.
-- `more`: something else waits to be sent.
WITH settled AS (
  UPDATE outbox SET state = $2, attempt = attempt + (state = 'queued')::int, receipt = $3, reason = $4, next_at = now() + make_interval(secs => $5),
    ended_at = CASE WHEN $2 <> 'queued' THEN now() END
  WHERE outbox_id = $1 AND state = ANY ($10::text[]) AND attempt = $11
  RETURNING *
), moved AS (
  UPDATE inbound_messages m
  SET processing_state = $6, step = CASE WHEN $6 IN ('answered', 'withheld') THEN '' ELSE 'send' END,
    reason = CASE WHEN $6 = 'answered' THEN '' ELSE $4 END,
    ended_at = CASE WHEN $6 IN ('answered', 'withheld', 'failed') THEN now() END,
    step_timings = m.step_timings || jsonb_build_object('send', extract(epoch FROM clock_timestamp() - s.queued_at) * 1000)
  FROM settled s
  WHERE m.message_id = s.message_id AND s.kind = 'reply' AND m.processing_state IN ('sending', 'waiting') AND m.step = 'send'
    AND m.processing_state <> $6
  RETURNING m.message_id
), recorded AS (
  INSERT INTO step_attempts (unit_id, step, attempt, message_id, tenant_id, employee_id, stage, epoch, queued_at, started_at,
    duration_ms, outcome, error, span_id)
  SELECT message_id, CASE kind WHEN 'reply' THEN 'send' ELSE 'send_' || kind END, attempt, message_id, tenant_id,
    employee_id, 'send', epoch, queued_at, coalesce(started_at, now()),
    greatest(0, extract(epoch FROM clock_timestamp() - started_at) * 1000), -- 0 when it was never begun
    CASE $2 WHEN 'sent' THEN 'succeeded' WHEN 'held' THEN 'waiting' WHEN 'withheld' THEN 'cancelled' ELSE 'failed' END,
    CASE WHEN $2 = 'sent' THEN '' ELSE $4 END, $12
  FROM settled WHERE message_id IS NOT NULL
  ON CONFLICT DO NOTHING
), asked AS (
  INSERT INTO reviews (review_id, tenant_id, employee_id, message_id, outbox_id, kind, reason, payload, expires_at)
  SELECT $7, tenant_id, employee_id, message_id, outbox_id, $8, $4,
    jsonb_build_object('text', body, 'kind', kind), CASE WHEN $8 = 'draft' THEN now() + make_interval(days => $9) END
  FROM settled WHERE $8::text IS NOT NULL
), known AS ( -- what came of it after all: whether it arrived, nobody has to find out any more
  UPDATE reviews r SET state = 'resolved', resolved_by = 'empla', resolved_at = now(),
    decision = jsonb_build_object('decision', 'reject', 'reason', 'what came of the sending became known')
  FROM settled s WHERE r.message_id = s.message_id AND r.outbox_id = s.outbox_id AND r.kind = 'unknown_after_send' AND r.state = 'open'
)
SELECT message_id, EXISTS (
  SELECT FROM outbox WHERE state = 'queued' AND (next_at IS NULL OR next_at <= now()) AND outbox_id <> $1
) AS more FROM settled;

-- name: abandoned
-- Sendings that this control plane has not in hand: those that it claimed without hearing of it, so that they were never begun
-- (`unbegun`), and others that began so long ago that no other control plane can have them in hand either.
SELECT o.outbox_id, o.attempt, c.kind AS channel, mine.unbegun
FROM outbox o
CROSS JOIN LATERAL (SELECT coalesce(o.claimed_by = $2 AND NOT o.outbox_id = ANY ($3::uuid[]), false) AS unbegun) mine
LEFT JOIN inbound_messages m ON m.message_id = o.message_id LEFT JOIN channels c ON c.channel_id = m.channel_id
WHERE o.state = 'sending' AND NOT o.outbox_id = ANY ($1::uuid[])
  AND (mine.unbegun OR o.started_at < now() - make_interval(secs => $4));
