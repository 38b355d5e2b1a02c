-- name: hold_launch
-- First lock, before that of the employee: the order of everybody. The time by which the first run is found.
SELECT now() FROM employee_epochs WHERE employee_id = $1 FOR NO KEY UPDATE;

-- name: create
-- A schedule with a conversation of its own, or nothing when the employee is deleted. More than there may be: EM003.
WITH live AS (
  SELECT employee_id, tenant_id FROM employees WHERE employee_id = $2 AND deleted_at IS NULL FOR KEY SHARE
), conversation AS (
  INSERT INTO conversations (conversation_id, tenant_id, employee_id, channel_id, external_id)
  SELECT $1, tenant_id, employee_id, $3, $1::uuid::text FROM live RETURNING conversation_id, tenant_id, employee_id
)
INSERT INTO schedules (schedule_id, tenant_id, employee_id, conversation_id, sender, name, kind, expression, time_zone, anchor,
  instruction, catch_up, next_at, of_profile)
SELECT $1, tenant_id, employee_id, conversation_id, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13 FROM conversation
RETURNING *;

-- name: change_of_profile
-- Changes a schedule that the profile brought, if it has not ended; it goes on in its conversation, paused if it was. One whose time
-- is not changed keeps its next run. With `state`, whoever waits for the next run is told.
UPDATE schedules SET state = state, kind = $3, expression = $4, time_zone = $5, instruction = $7, catch_up = $8,
  anchor = CASE WHEN (kind, expression, time_zone) = ($3, $4, $5) THEN anchor ELSE $6 END,
  next_at = CASE WHEN state = 'active' AND (kind, expression, time_zone) <> ($3, $4, $5) THEN $9 ELSE next_at END
WHERE employee_id = $1 AND name = $2 AND of_profile AND state <> 'ended'
RETURNING *;

-- name: end_of_profile
-- Ends schedules that the profile brought.
UPDATE schedules SET state = 'ended', reason = $3 WHERE employee_id = $1 AND name = ANY ($2::text[]) AND of_profile AND state <> 'ended'
RETURNING *;

-- name: page
-- Schedules of a tenant or of one employee or one alone, in the order in which they were made, those after one.
SELECT s.*, e.name AS employee, c.external_id AS conversation, h.name AS channel,
  (SELECT max(due_at) FROM schedule_runs r WHERE r.schedule_id = s.schedule_id AND r.state = 'fired') AS last_at
FROM schedules s JOIN employees e ON e.employee_id = s.employee_id JOIN conversations c USING (conversation_id)
JOIN channels h ON h.channel_id = c.channel_id
WHERE ($1::uuid IS NULL OR s.tenant_id = $1) AND ($2::uuid IS NULL OR s.employee_id = $2) AND ($3 OR s.state <> 'ended')
  AND ($4::uuid IS NULL OR s.schedule_id > $4) AND ($6::uuid IS NULL OR s.schedule_id = $6)
ORDER BY s.schedule_id LIMIT $5;

-- name: runs
-- The last runs of a schedule.
SELECT due_at, state, message_id, reason, fired_at FROM schedule_runs WHERE schedule_id = $1 ORDER BY due_at DESC LIMIT $2;

-- name: hold
-- A schedule of an operator's tenant, locked, and the time.
SELECT *, now() AS now FROM schedules WHERE schedule_id = $1 AND ($2::uuid IS NULL OR tenant_id = $2) FOR UPDATE;

-- name: pause
-- Nothing runs until it is resumed.
UPDATE schedules SET state = 'paused', next_at = NULL WHERE schedule_id = $1;

-- name: resume
-- Goes on with the next run.
UPDATE schedules SET state = 'active', next_at = $2 WHERE schedule_id = $1;

-- name: delete
-- Ends a schedule.
UPDATE schedules SET state = 'ended', reason = left($2, 1000) WHERE schedule_id = $1;
