-- name: ready
-- The step that has been ready the longest, locked for this transaction; what another control plane has in hand is skipped, and
-- what a paused employee would have to do.
SELECT s.*, i.title, i.ended_at IS NOT NULL AS over, g.text AS goal, e.name AS employee, e.deleted_at IS NOT NULL AS deleted,
  (SELECT max(step) FROM intention_steps l WHERE l.intention_id = s.intention_id) AS steps
FROM intention_steps s JOIN intentions i USING (intention_id) JOIN goals g USING (goal_id) JOIN employees e ON e.employee_id = s.employee_id
WHERE s.state = 'ready' AND (s.intention_id, s.step) NOT IN (SELECT * FROM unnest($1::uuid[], $2::integer[]))
  AND (e.deleted_at IS NOT NULL OR i.ended_at IS NOT NULL OR s.employee_id NOT IN (SELECT paused_employees(now())))
ORDER BY s.ready_at, s.intention_id, s.step LIMIT 1 FOR UPDATE OF s SKIP LOCKED;

-- name: more
-- Whether a step is ready all the same.
SELECT EXISTS (SELECT FROM intention_steps
  WHERE state = 'ready' AND (intention_id, step) NOT IN (SELECT * FROM unnest($1::uuid[], $2::integer[]))
  AND employee_id NOT IN (SELECT paused_employees(now())));

-- name: run
-- A step, and the message that it is. Of a plan that was restored from a backup it may have been done elsewhere: the message says so.
WITH restored AS (
  UPDATE inbound_messages m SET restored_at = p.restored_at FROM intentions i JOIN employee_epochs p USING (employee_id)
  WHERE m.message_id = $3 AND i.intention_id = $1 AND p.restored_at >= i.created_at
)
UPDATE intention_steps SET state = 'running', message_id = $3 WHERE intention_id = $1 AND step = $2;

-- name: end
-- Ends a step that is no message, and says why.
UPDATE intention_steps SET state = $3, outcome = left($4, 4000), ended_at = now() WHERE intention_id = $1 AND step = $2;

-- name: of_ended_plans
-- Messages of steps that go on though their plan has ended, and that nobody has stopped; with what they wait for, or have not sent.
SELECT s.message_id FROM intention_steps s JOIN intentions i USING (intention_id)
JOIN inbound_messages m USING (message_id) JOIN employees e ON e.employee_id = s.employee_id
WHERE s.state = 'running' AND i.ended_at IS NOT NULL AND e.deleted_at IS NULL AND m.cancelled_by IS NULL AND (
  (m.ended_at IS NULL AND m.step <> 'send')
  OR EXISTS (SELECT FROM message_workers w WHERE w.message_id = s.message_id AND w.state IN ('running', 'waiting_for_input'))
  OR EXISTS (SELECT FROM outbox o WHERE o.message_id = s.message_id AND o.state IN ('queued', 'held') AND o.kind <> 'notice'))
ORDER BY s.ready_at LIMIT $1;
