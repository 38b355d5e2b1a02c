-- name: undelivered
-- The next message of each conversation that nobody has claimed, oldest first: a conversation has one delivery under way at a
-- time, so that a long one leaves room for the others. `followed`: its conversation has another. `more`: not every row was looked at.
-- What is a subselect the planner guesses the same with and without its value: else it would plan anew each time.
WITH busy AS MATERIALIZED (
  SELECT conversation_id FROM inbound_messages
  WHERE message_id = ANY ((SELECT $2::uuid[])::uuid[]) AND ended_at IS NULL AND processing_state = 'received' AND epoch IS NULL
), waiting AS MATERIALIZED (
  SELECT message_id, conversation_id, sequence FROM inbound_messages
  WHERE employee_id = $1 AND ended_at IS NULL AND processing_state = 'received' AND epoch IS NULL
    AND NOT message_id = ANY ($3::uuid[]) AND conversation_id NOT IN (SELECT conversation_id FROM busy)
  ORDER BY sequence LIMIT 1000
), next AS MATERIALIZED (
  SELECT message_id, followed FROM (
    SELECT DISTINCT ON (conversation_id) message_id, sequence, count(*) OVER (PARTITION BY conversation_id) > 1 AS followed
    FROM waiting ORDER BY conversation_id, sequence
  ) first ORDER BY sequence LIMIT (SELECT $4::bigint)
)
SELECT m.sequence, m.message_id, m.conversation_id, c.kind AS channel, m.sender, b.body, m.trace_context, m.received_at, b.metadata, followed,
  (SELECT count(*) FROM waiting) = 1000 AS more
FROM next JOIN inbound_messages m USING (message_id) JOIN message_bodies b USING (message_id)
JOIN channels c ON c.channel_id = m.channel_id
ORDER BY m.sequence;

-- name: unclaimed
-- Which of some messages nobody has claimed.
SELECT message_id FROM inbound_messages
WHERE message_id = ANY ($1::uuid[]) AND ended_at IS NULL AND processing_state = 'received' AND epoch IS NULL;

-- name: employees_with_undelivered
-- Who has messages that nobody has claimed.
SELECT DISTINCT employee_id FROM inbound_messages
WHERE ended_at IS NULL AND processing_state = 'received' AND epoch IS NULL;

-- name: outdated
-- Whose streams are of launches that are not the present one any more, or have ended.
SELECT held.employee_id FROM unnest($1::uuid[], $2::bigint[]) AS held (employee_id, epoch) LEFT JOIN employee_epochs p USING (employee_id)
WHERE p.epoch IS DISTINCT FROM held.epoch OR p.ended_at IS NOT NULL;

-- name: stopping
-- The messages of which somebody wants something stopped that has not come to its end.
SELECT employee_id, message_id FROM inbound_messages WHERE cancelled_by IS NOT NULL AND ended_at IS NULL
UNION
SELECT employee_id, message_id FROM message_workers
WHERE cancelled_by IS NOT NULL AND state IN ('running', 'waiting_for_input');
