-- name: undelivered
-- Messages that nobody has claimed yet, oldest first.
SELECT m.sequence, m.message_id, m.conversation_id, c.kind AS channel, m.sender, b.body, m.trace_context, m.received_at, b.metadata
FROM inbound_messages m JOIN message_bodies b USING (message_id) JOIN channels c ON c.channel_id = m.channel_id
WHERE m.employee_id = $1 AND m.ended_at IS NULL AND m.processing_state = 'received' AND m.epoch IS NULL AND NOT m.message_id = ANY ($2::uuid[])
ORDER BY m.sequence LIMIT $3;

-- name: unclaimed
-- Which of some messages nobody has claimed.
SELECT message_id FROM inbound_messages
WHERE message_id = ANY ($1::uuid[]) AND ended_at IS NULL AND processing_state = 'received' AND epoch IS NULL;

-- name: employees_with_undelivered
-- Who has messages that nobody has claimed.
SELECT DISTINCT employee_id FROM inbound_messages
WHERE ended_at IS NULL AND processing_state = 'received' AND epoch IS NULL;
