-- name: message
-- One message as operators see it; why its employee is paused, if that keeps it.
SELECT m.*, CASE WHEN m.processing_state IN ('received', 'analyzing', 'working', 'merging') THEN pause_of(now(), m.employee_id) END AS pause,
  b.body, e.name AS employee, c.name AS channel, v.external_id AS conversation,
  (extract(epoch FROM coalesce(m.ended_at, clock_timestamp()) - m.received_at) * 1000)::float8 AS elapsed_ms,
  (SELECT coalesce(sum(extract(epoch FROM upper(span) - lower(span))) * 1000, 0)::float8 FROM (
    SELECT unnest(range_agg(tstzrange(m.received_at, coalesce(m.ended_at, clock_timestamp()))
      * tstzrange(r.created_at, coalesce(r.resolved_at, clock_timestamp())))) AS span
    FROM reviews r WHERE r.message_id = m.message_id) spans) AS waited_ms
FROM inbound_messages m JOIN message_bodies b USING (message_id) JOIN employees e ON e.employee_id = m.employee_id
JOIN channels c ON c.channel_id = m.channel_id JOIN conversations v ON v.conversation_id = m.conversation_id
WHERE m.message_id = $1 AND ($2::uuid IS NULL OR m.tenant_id = $2);

-- name: standing
-- Where a message stands; of one that was collected, which message it is answered with, or that it answered a question about, how
-- that stands, and whether something still comes of it. `paused`: not now.
WITH RECURSIVE led AS (
  SELECT message_id, collected_into FROM inbound_messages WHERE message_id = $1
  UNION
  SELECT l.message_id, l.collected_into FROM led JOIN inbound_messages c ON c.message_id = led.message_id AND c.processing_state = 'collected'
  JOIN inbound_messages l ON l.message_id = led.collected_into AND l.employee_id = c.employee_id
)
SELECT m.processing_state AS state, coalesce(w.message_id, nullif(l.message_id, $1)) AS collected_into, w.worker_id IS NOT NULL AS asked,
  l.processing_state AS led_state, l.reason AS led_reason, l.ended_at,
  CASE WHEN w.worker_id IS NULL THEN l.processing_state NOT IN ('answered', 'collected', 'withheld', 'failed', 'waiting')
    ELSE u.taken_at IS NULL OR (w.state = 'running' AND w.step <> 'background')
      OR EXISTS (SELECT FROM outbox o WHERE o.message_id = w.message_id AND o.state IN ('queued', 'sending')) END AS comes,
  l.processing_state IN ('received', 'analyzing', 'working', 'merging') AND pause_of(now(), m.employee_id) IS NOT NULL AS paused
FROM inbound_messages m
JOIN led ON true JOIN inbound_messages l ON l.message_id = led.message_id AND NOT (l.processing_state = 'collected'
  AND EXISTS (SELECT FROM inbound_messages n WHERE n.message_id = l.collected_into AND n.employee_id = l.employee_id))
LEFT JOIN step_attempts a ON l.processing_state = 'collected' AND a.message_id = l.message_id AND a.output ? 'answers'
LEFT JOIN message_workers w ON w.worker_id = (a.output ->> 'answers')::uuid
LEFT JOIN unit_answers u ON u.unit_id = w.worker_id AND u.answered_at = l.ended_at
WHERE m.message_id = $1;

-- name: brought_about
-- What was written in answer to a message after one of its questions was answered, until the next one was.
SELECT outbox_id, message_id, kind, left(body, $3) AS body, state, reason, ended_at FROM outbox o
WHERE message_id = $1 AND kind <> 'reply' AND queued_at > $2 AND NOT EXISTS (
  SELECT FROM unit_answers u WHERE u.message_id = $1 AND u.answered_at > $2 AND u.answered_at < o.queued_at)
ORDER BY queued_at, part;

-- name: page
-- Messages of a tenant or of one employee, newest first, those before a sequence number, with the beginnings of their bodies.
SELECT m.*, left(b.body, $6) AS body, e.name AS employee, c.name AS channel, v.external_id AS conversation,
  (extract(epoch FROM coalesce(m.ended_at, clock_timestamp()) - m.received_at) * 1000)::float8 AS elapsed_ms,
  (SELECT coalesce(sum(extract(epoch FROM upper(span) - lower(span))) * 1000, 0)::float8 FROM (
    SELECT unnest(range_agg(tstzrange(m.received_at, coalesce(m.ended_at, clock_timestamp()))
      * tstzrange(r.created_at, coalesce(r.resolved_at, clock_timestamp())))) AS span
    FROM reviews r WHERE r.message_id = m.message_id) spans) AS waited_ms
FROM inbound_messages m JOIN message_bodies b USING (message_id) JOIN employees e ON e.employee_id = m.employee_id
JOIN channels c ON c.channel_id = m.channel_id JOIN conversations v ON v.conversation_id = m.conversation_id
WHERE ($1::uuid IS NULL OR m.tenant_id = $1) AND ($2::uuid IS NULL OR m.employee_id = $2)
  AND ($3 = '' OR m.processing_state = $3) AND m.sequence < $4
ORDER BY m.sequence DESC LIMIT $5;

-- name: replies
-- The beginnings of what was written in answer to some messages.
SELECT outbox_id, message_id, kind, left(body, $2) AS body, state, reason, ended_at FROM outbox
WHERE message_id = ANY ($1::uuid[]) ORDER BY queued_at, part;

-- name: attempts
-- Every attempt of every step of a message.
SELECT a.*, w.intent_index,
  greatest(0, extract(epoch FROM a.started_at - a.queued_at) * 1000)::float8 AS queued_ms
FROM inbound_messages m JOIN step_attempts a USING (message_id, employee_id, tenant_id)
LEFT JOIN message_workers w ON w.worker_id = a.unit_id
WHERE m.message_id = $1 ORDER BY a.finished_at, a.started_at, a.step;

-- name: effects
-- Every action that was begun for a message.
SELECT unit_id, response_index, call_index, capability, action, arguments, state, result, error, places, started_at,
  coalesce(extract(epoch FROM finished_at - started_at) * 1000, 0)::float8 AS duration_ms
FROM effects WHERE message_id = $1 ORDER BY started_at, response_index, call_index;

-- name: sub_agents
-- Every sub-agent that worked for a message.
SELECT s.*, coalesce(extract(epoch FROM finished_at - started_at) * 1000, 0)::float8 AS duration_ms
FROM sub_agents s WHERE message_id = $1 ORDER BY started_at, response_index, call_index, task_index;

-- name: reviews
-- The reviews of a message, and one of many messages that names it.
SELECT r.*, e.name AS employee, review_resumes(r) AS resumes FROM reviews r JOIN employees e ON e.employee_id = r.employee_id
WHERE r.message_id = $1 OR (r.message_id IS NULL AND r.employee_id = (SELECT employee_id FROM inbound_messages WHERE message_id = $1)
  AND r.payload @> jsonb_build_object('messages', jsonb_build_array(jsonb_build_object('message_id', $1))))
ORDER BY r.created_at;

-- name: open_reviews
-- Reviews of a tenant or of one employee, oldest first.
SELECT r.*, e.name AS employee, review_resumes(r) AS resumes FROM reviews r JOIN employees e ON e.employee_id = r.employee_id
WHERE ($1::uuid IS NULL OR r.tenant_id = $1) AND ($2::uuid IS NULL OR r.employee_id = $2) AND ($3 OR r.state = 'open')
  AND r.review_id > $4
ORDER BY r.review_id LIMIT $5;

-- name: review
-- One review.
SELECT r.*, e.name AS employee, review_resumes(r) AS resumes FROM reviews r JOIN employees e ON e.employee_id = r.employee_id
WHERE r.review_id = $1 AND ($2::uuid IS NULL OR r.tenant_id = $2);

-- name: latency
-- Milliseconds from received to sent, of the last 10,000 messages, those of people that were answered in the last hour.
SELECT count(*)::int AS count, percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY ms) AS ms
FROM (SELECT extract(epoch FROM ended_at - received_at) * 1000 AS ms, processing_state, received_at, channel_id FROM inbound_messages
  WHERE ($1::uuid IS NULL OR tenant_id = $1) ORDER BY sequence DESC LIMIT 10000) recent JOIN channels c USING (channel_id)
WHERE processing_state = 'answered' AND received_at > now() - interval '1 hour' AND c.kind <> 'own';

-- name: counts
-- How much waits.
SELECT (SELECT count(*) FROM reviews WHERE state = 'open' AND ($1::uuid IS NULL OR tenant_id = $1))::int AS open_reviews,
  (SELECT count(*) FROM inbound_messages WHERE ended_at IS NULL
   AND ($1::uuid IS NULL OR tenant_id = $1))::int AS live_messages,
  (SELECT count(*) FROM outbox WHERE state IN ('queued', 'sending') AND ($1::uuid IS NULL OR tenant_id = $1))::int AS queued_outbox;
