-- name: store
-- Stores a message once for each (tenant, channel, event); a known event returns the row that is there. No row: the employee
-- or the channel is deleted, or another delivery of the event is being committed at this moment.
WITH live AS (
  SELECT e.employee_id, e.tenant_id FROM employees e JOIN channels c ON c.channel_id = $3 AND c.disabled_at IS NULL
  WHERE e.employee_id = $4 AND e.tenant_id = $2 AND e.deleted_at IS NULL
  FOR KEY SHARE -- or a message slips into a deletion after that has looked for messages
), known AS (
  SELECT m.message_id, m.employee_id, c.external_id, b.metadata ->> 'empla:content' AS content
  FROM inbound_messages m JOIN conversations c USING (conversation_id) JOIN message_bodies b USING (message_id)
  WHERE m.tenant_id = $2 AND m.channel_id = $3 AND m.event_id = $5
), conversation AS (
  INSERT INTO conversations (conversation_id, tenant_id, employee_id, channel_id, external_id)
  SELECT $9, tenant_id, employee_id, $3, $10 FROM live WHERE NOT EXISTS (SELECT FROM known)
  ON CONFLICT (channel_id, employee_id, external_id) DO UPDATE SET external_id = excluded.external_id
  RETURNING conversation_id, external_id
), message AS (
  INSERT INTO inbound_messages (message_id, tenant_id, employee_id, channel_id, conversation_id, event_id, sender, trace_context)
  SELECT $1, live.tenant_id, live.employee_id, $3, conversation_id, $5, $6, $11 FROM live, conversation
  ON CONFLICT (tenant_id, channel_id, event_id) DO NOTHING
  RETURNING message_id, tenant_id, employee_id
), body AS (
  INSERT INTO message_bodies (message_id, tenant_id, employee_id, body, metadata)
  SELECT message_id, tenant_id, employee_id, $7, $8 FROM message
)
SELECT message_id, employee_id, external_id AS conversation, content, true AS duplicate FROM known
UNION ALL
SELECT message.message_id, message.employee_id, conversation.external_id, $8::jsonb ->> 'empla:content', false
FROM message, conversation;
