-- name: hold_launch
-- First lock: waits for writes of the employee's process and keeps out later ones. The order of the locks is that of everybody.
SELECT FROM employee_epochs WHERE employee_id = $1 FOR UPDATE;

-- name: known
-- Every goal that an employee has or had.
SELECT goal_id, text, state, origin FROM goals WHERE employee_id = $1;

-- name: set
-- Sets goals to an employee that is not deleted, and notes why it has to plan; '' notes nothing. Says which were set.
WITH live AS (
  SELECT employee_id, tenant_id FROM employees WHERE employee_id = $1 AND deleted_at IS NULL FOR KEY SHARE
), made AS (
  INSERT INTO goals (goal_id, tenant_id, employee_id, text, kind, priority, deadline, subject, predicate, start, target, origin)
  SELECT wanted.goal_id, tenant_id, employee_id, wanted.text, $4, $5, $6, $7, $8, $9, $10, $11
  FROM live, unnest($2::uuid[], $3::text[]) AS wanted (goal_id, text)
  RETURNING goal_id, tenant_id, employee_id, state, progress
), noted AS (
  INSERT INTO goal_changes (goal_id, tenant_id, employee_id, state, progress, reason)
  SELECT goal_id, tenant_id, employee_id, state, progress, 'set by ' || CASE WHEN $11 = 'profile' THEN 'the profile' ELSE $11 END FROM made
), planning AS (
  INSERT INTO planning (employee_id, tenant_id, wanted) SELECT employee_id, tenant_id, left($12, 1000) FROM live
  ON CONFLICT (employee_id) DO UPDATE SET wanted = coalesce(nullif(excluded.wanted, ''), planning.wanted),
    planned_at = CASE WHEN $11 = 'profile' THEN planning.planned_at END
)
SELECT goal_id FROM made;

-- name: found
-- A goal of an operator's tenant.
SELECT goal_id, tenant_id, employee_id, text, state, reason FROM goals
WHERE goal_id = $1 AND ($2::uuid IS NULL OR tenant_id = $2);

-- name: abandon
-- Ends goals, and says why.
WITH ended AS (
  UPDATE goals SET state = 'abandoned', reason = left($2, 1000), ended_at = now()
  WHERE goal_id = ANY ($1::uuid[]) AND state = 'active' RETURNING *
)
INSERT INTO goal_changes (goal_id, tenant_id, employee_id, state, progress, reason)
SELECT goal_id, tenant_id, employee_id, state, progress, reason FROM ended;

-- name: abandon_plans
-- Ends the plans for some goals.
UPDATE intentions SET state = 'abandoned', reason = 'its goal was abandoned', ended_at = now()
WHERE goal_id = ANY ($1::uuid[]) AND ended_at IS NULL;

-- name: skip_steps
-- Leaves out what has not begun of the plans for some goals.
UPDATE intention_steps s SET state = 'skipped', outcome = 'its goal was abandoned', ended_at = now()
FROM intentions i WHERE i.intention_id = s.intention_id AND i.goal_id = ANY ($1::uuid[]) AND s.state IN ('planned', 'ready');

-- name: page
-- Goals of a tenant or of one employee or one alone, in the order in which they were set, those after one, each with its last
-- changes and plans; texts of steps are cut to $7 characters.
SELECT g.*, e.name AS employee, steps.done, steps.open,
  ARRAY(
    SELECT to_jsonb(c) FROM (
      SELECT state, progress, reason, cycle_id, occurred_at FROM goal_changes
      WHERE goal_id = g.goal_id ORDER BY change_id DESC LIMIT 10
    ) c
  ) AS changes,
  ARRAY(
    SELECT to_jsonb(p) FROM (
      SELECT intention_id, title, why, state, reason, cycle_id, created_at, ended_at, ARRAY(
        SELECT to_jsonb(s) FROM (
          SELECT step, name, left(instruction, $7) AS instruction, after, state, message_id, left(outcome, $7) AS outcome,
            ready_at, ended_at
          FROM intention_steps WHERE intention_id = i.intention_id ORDER BY step
        ) s
      ) AS steps
      FROM intentions i WHERE i.goal_id = g.goal_id ORDER BY created_at DESC, intention_id DESC LIMIT 5
    ) p
  ) AS intentions
FROM goals g JOIN employees e ON e.employee_id = g.employee_id
CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE s.state = 'done')::int AS done,
    count(*) FILTER (WHERE s.state IN ('planned', 'ready', 'running'))::int AS open
  FROM intentions i JOIN intention_steps s USING (intention_id) WHERE i.goal_id = g.goal_id
) steps
WHERE ($1::uuid IS NULL OR g.tenant_id = $1) AND ($2::uuid IS NULL OR g.employee_id = $2) AND ($3 OR g.state = 'active')
  AND ($4::uuid IS NULL OR g.goal_id > $4) AND ($6::uuid IS NULL OR g.goal_id = $6)
ORDER BY g.goal_id LIMIT $5;
