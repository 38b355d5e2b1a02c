-- name: conversations
-- Makes $1 conversations, spread evenly over all employees that have a channel in their tenant.
INSERT INTO conversations (conversation_id, tenant_id, employee_id, channel_id, external_id)
SELECT uuidv7(), e.tenant_id, e.employee_id, e.channel_id, 'past-' || n
FROM generate_series(0, $1::bigint - 1) n
JOIN (
  SELECT employee_id, tenant_id, channel_id, row_number() OVER (ORDER BY employee_id) - 1 AS number
  FROM employees JOIN (SELECT DISTINCT ON (tenant_id) tenant_id, channel_id FROM channels) c USING (tenant_id)
) e ON e.number = n % (SELECT count(*) FROM employees)

-- name: past
-- What is known of $1 messages before any row of theirs is written; one every second until now, each conversation in its turn.
CREATE TEMPORARY TABLE past ON COMMIT DROP AS
SELECT uuidv7() AS message_id, uuidv7() AS worker_id, uuidv7() AS outbox_id,
  v.conversation_id, v.tenant_id, v.employee_id, v.channel_id, now() - make_interval(secs => $1::bigint - n) AS at
FROM generate_series(1, $1::bigint) n
JOIN (
  SELECT *, row_number() OVER () - 1 AS number FROM conversations WHERE external_id LIKE 'past-%'
) v ON v.number = n % (SELECT count(*) FROM conversations WHERE external_id LIKE 'past-%')

-- name: messages
-- Each was answered.
INSERT INTO inbound_messages (message_id, tenant_id, employee_id, channel_id, conversation_id, event_id, sender, processing_state,
  step, attempt, epoch, queued_at, received_at, ended_at, step_timings)
SELECT message_id, tenant_id, employee_id, channel_id, conversation_id, message_id::text, 'ada@example.com', 'answered', '', 1, 1,
  at, at, at + interval '40 ms', '{"security_filter": 0.2, "context_retrieval": 1.1, "classification": 0.9, "merge": 0.1, "send": 3.1}'
FROM past

-- name: bodies
-- What each said.
INSERT INTO message_bodies (message_id, tenant_id, employee_id, body)
SELECT message_id, tenant_id, employee_id, 'How many open deals do the notes list?' FROM past

-- name: workers
-- Each had one part.
INSERT INTO message_workers (worker_id, message_id, tenant_id, employee_id, intent_index, intent, state, step, attempt, epoch,
  queued_at, step_timings)
SELECT worker_id, message_id, tenant_id, employee_id, 0, '{"summary": "count the open deals"}', 'done', '', 1, 1, at,
  '{"action_planning": 2.1, "draft_generation": 0.1, "routing": 0.1}'
FROM past

-- name: attempts
-- Each took eight steps, three of them its part's.
INSERT INTO step_attempts (unit_id, step, attempt, message_id, tenant_id, employee_id, stage, epoch, queued_at, started_at,
  finished_at, duration_ms, outcome, output, span_id)
SELECT CASE s.stage WHEN 'work' THEN worker_id ELSE message_id END, s.step, 1, message_id, tenant_id, employee_id, s.stage, 1,
  at, at, at + interval '1 ms', 1, 'succeeded', s.output::jsonb, '00f067aa0ba902b7'
FROM past, (VALUES
  ('security_filter', 'receive', '{"text": "How many open deals do the notes list?", "cut": 0}'),
  ('context_retrieval', 'analyze', '{"turns": [], "memories": []}'),
  ('classification', 'analyze', '{"category": "question", "priority": "normal", "language": "en", "confidence": 0.9}'),
  ('action_planning', 'work', '{"answer": "The notes list three open deals.", "responses": 2, "calls": 1}'),
  ('draft_generation', 'work', '{"text": "The notes list three open deals.", "cut": false}'),
  ('routing', 'work', '{"proposal": "send", "suspicious": false}'),
  ('merge', 'merge', '{"parts": 1}'),
  ('send', 'send', NULL)) AS s (step, stage, output)

-- name: replies
-- Each has one.
INSERT INTO outbox (outbox_id, tenant_id, employee_id, message_id, conversation_id, kind, body, state, epoch, attempt, claimed_by,
  queued_at, started_at, ended_at)
SELECT outbox_id, tenant_id, employee_id, message_id, conversation_id, 'reply', 'The notes list three open deals.', 'sent', 1, 1,
  'bench', at, at, at + interval '40 ms'
FROM past

-- name: events
-- Each was told to the loop, which has dealt with it.
INSERT INTO employee_events (tenant_id, employee_id, kind, payload, occurred_at, cycle_id)
SELECT tenant_id, employee_id, 'message_handled', jsonb_build_object('message_id', message_id), at, message_id FROM past
