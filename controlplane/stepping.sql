-- name: ready
-- The step that has been ready the longest, locked for this transaction; what another control plane has in hand is skipped.
SELECT s.*, i.title, i.ended_at IS NOT NULL AS over, g.text AS goal, e.name AS employee, e.deleted_at IS NOT NULL AS deleted,
  (SELECT max(step) FROM intention_steps l WHERE l.intention_id = s.intention_id) AS steps
FROM intention_steps s JOIN intentions i USING (intention_id) JOIN goals g USING (goal_id) JOIN employees e ON e.employee_id = s.employee_id
WHERE s.state = 'ready' AND (s.intention_id, s.step) NOT IN (SELECT * FROM unnest($1::uuid[], $2::integer[]))
ORDER BY s.ready_at, s.intention_id, s.step LIMIT 1 FOR UPDATE OF s SKIP LOCKED;

-- name: more
-- Whether a step is ready all the same.
SELECT EXISTS (SELECT FROM intention_steps
  WHERE state = 'ready' AND (intention_id, step) NOT IN (SELECT * FROM unnest($1::uuid[], $2::integer[])));

-- name: run
-- A step, and the message that it is.
UPDATE intention_steps SET state = 'running', message_id = $3 WHERE intention_id = $1 AND step = $2;

-- name: end
-- Ends a step that is no message, and says why.
UPDATE intention_steps SET state = $3, outcome = left($4, 4000), ended_at = now() WHERE intention_id = $1 AND step = $2;
