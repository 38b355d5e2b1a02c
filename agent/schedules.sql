-- name: asked
-- The message that an employee has in hand as far as it tells of schedules: whether it is a run of one or a step of the employee's
-- own, whether text of others was read for it before, and what time it is.
SELECT starts_with(m.event_id, 'schedule:') OR starts_with(m.event_id, 'intention:') AS is_run, now() AS now, EXISTS (
  SELECT FROM effects e WHERE e.message_id = m.message_id AND e.employee_id = m.employee_id
    AND (e.capability = ANY ($3::text[]) OR e.action = 'recall')) AS read_others
FROM inbound_messages m WHERE m.message_id = $1 AND m.employee_id = $2;

-- name: first_run
-- When a schedule that was made before runs next, or ended.
SELECT coalesce(next_at, ended_at, created_at) FROM schedules WHERE schedule_id = $1 AND employee_id = $2;

-- name: create
-- A schedule for who wrote the message, in its conversation. Fenced: no row when a newer launch owns the employee.
WITH fence AS MATERIALIZED (
  SELECT employee_id, tenant_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE
)
INSERT INTO schedules (schedule_id, tenant_id, employee_id, conversation_id, sender, asked_in, name, kind, expression, time_zone,
  anchor, instruction, catch_up, next_at)
SELECT $3, fence.tenant_id, fence.employee_id, m.conversation_id, m.sender, m.message_id, $5, $6, $7, $8, $9, $10, $11, $12
FROM fence JOIN inbound_messages m ON m.message_id = $4 AND m.employee_id = fence.employee_id
RETURNING schedule_id;

-- name: list
-- The schedules of a message's conversation that have not ended, in the order in which they were made.
SELECT s.* FROM schedules s JOIN inbound_messages m USING (conversation_id, employee_id)
WHERE m.message_id = $1 AND s.employee_id = $2 AND s.state <> 'ended' ORDER BY s.created_at, s.schedule_id;

-- name: cancel
-- Ends the schedule of that name in a message's conversation, if it has not ended; fenced. `known` is false when there was none;
-- no row when a newer launch owns the employee.
WITH fence AS MATERIALIZED (
  SELECT employee_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE
), meant AS (
  SELECT s.schedule_id, s.state, m.sender FROM fence JOIN inbound_messages m ON m.message_id = $3 AND m.employee_id = fence.employee_id
  JOIN schedules s ON s.conversation_id = m.conversation_id AND s.employee_id = fence.employee_id AND s.name = $4
), ended AS (
  UPDATE schedules s SET state = 'ended', reason = left('cancelled by ' || meant.sender, 1000)
  FROM meant WHERE s.schedule_id = meant.schedule_id AND meant.state <> 'ended'
)
SELECT EXISTS (SELECT FROM meant) AS known FROM fence;
