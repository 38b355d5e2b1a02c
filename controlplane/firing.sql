-- name: due
-- The schedule that has been due the longest, locked for this transaction; what another control plane has in hand is skipped, and
-- what is of a paused employee: a run that is due meanwhile is late, or missed.
SELECT s.*, c.channel_id, c.external_id AS conversation, e.deleted_at IS NOT NULL AS deleted, h.disabled_at,
  coalesce($1, now()) AS now
FROM schedules s JOIN conversations c USING (conversation_id) JOIN channels h USING (channel_id)
JOIN employees e ON e.employee_id = s.employee_id
WHERE s.state = 'active' AND s.next_at <= coalesce($1::timestamptz, now()) AND NOT s.schedule_id = ANY ($2::uuid[])
  AND (e.deleted_at IS NOT NULL OR s.employee_id NOT IN (SELECT paused_employees(coalesce($1, now()))))
ORDER BY s.next_at LIMIT 1 FOR UPDATE OF s SKIP LOCKED;

-- name: next
-- Seconds until a schedule is due; NULL: there is none.
SELECT extract(epoch FROM min(next_at) - coalesce($1::timestamptz, now()))::float8
FROM schedules WHERE state = 'active' AND NOT schedule_id = ANY ($2::uuid[])
  AND employee_id NOT IN (SELECT paused_employees(coalesce($1, now())));

-- name: going_on
-- How many runs of a schedule have not ended: their message has not, or something of it goes on in the background.
SELECT count(*) FROM (
  SELECT message_id FROM inbound_messages WHERE employee_id = $2 AND ended_at IS NULL AND conversation_id = $3
  UNION
  SELECT message_id FROM message_workers WHERE employee_id = $2 AND state = 'running'
) live JOIN schedule_runs r USING (message_id) WHERE r.schedule_id = $1;

-- name: note_fired
-- A run, and the message that it is. It was noted before if the database's clock has gone back since. One that was due before the
-- employee was restored from a backup may have been done elsewhere: the message says so.
WITH restored AS (
  UPDATE inbound_messages m SET restored_at = p.restored_at FROM employee_epochs p
  WHERE m.message_id = $5 AND p.employee_id = $4 AND p.restored_at >= $2
)
INSERT INTO schedule_runs (schedule_id, due_at, tenant_id, employee_id, state, message_id, fired_at)
VALUES ($1, $2, $3, $4, 'fired', $5, $6)
ON CONFLICT (schedule_id, due_at) DO UPDATE SET state = 'fired', message_id = excluded.message_id, reason = '';

-- name: note_missed
-- Runs that are not done, and why.
INSERT INTO schedule_runs (schedule_id, due_at, tenant_id, employee_id, state, reason, fired_at)
SELECT $1, due_at, $3, $4, 'missed', $5, $6 FROM unnest($2::timestamptz[]) AS due_at
ON CONFLICT DO NOTHING;

-- name: advance
-- Sets the next run.
UPDATE schedules SET next_at = $2 WHERE schedule_id = $1;

-- name: end
-- Ends a schedule, and says why.
UPDATE schedules SET state = 'ended', reason = left($2, 1000) WHERE schedule_id = $1;
