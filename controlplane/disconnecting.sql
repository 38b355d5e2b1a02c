-- name: hold_channel
-- Waits for messages of a channel that are being stored and keeps out later ones. Nothing: there is none in use, of that tenant
-- (NULL: of any).
SELECT tenant_id, name, kind FROM channels
WHERE channel_id = $1 AND ($2::uuid IS NULL OR tenant_id = $2) AND disabled_at IS NULL AND kind <> 'own' FOR UPDATE;

-- name: open
-- What of a channel has not come to its end: messages, parts of others that go on or wait, and what is not sent yet.
SELECT message_id FROM inbound_messages WHERE channel_id = $1 AND ended_at IS NULL
UNION
SELECT m.message_id FROM message_workers w JOIN inbound_messages m USING (message_id)
WHERE m.channel_id = $1 AND w.state IN ('running', 'waiting_for_input')
UNION
SELECT m.message_id FROM outbox o JOIN inbound_messages m USING (message_id)
WHERE m.channel_id = $1 AND o.state IN ('queued', 'held', 'sending');

-- name: schedules
-- How many schedules run in conversations of a channel.
SELECT count(*) FROM schedules s JOIN conversations c USING (conversation_id) WHERE c.channel_id = $1 AND s.state <> 'ended';

-- name: delete
-- Takes no more messages and makes the name free; what came by it stays.
UPDATE channels SET disabled_at = now(), secret = NULL WHERE channel_id = $1;

-- name: delete_rules
-- Removes the rules of a channel.
DELETE FROM routing_rules WHERE channel_id = $1;

-- name: end_schedules
-- Ends the schedules that run in conversations of a channel, paused ones too.
UPDATE schedules s SET state = 'ended', reason = $2 FROM conversations c
WHERE c.conversation_id = s.conversation_id AND c.channel_id = $1 AND s.state <> 'ended';
