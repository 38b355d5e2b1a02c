-- name: fence
-- Holds this launch until the transaction ends; nothing when a newer one owns the employee.
SELECT tenant_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE;

-- name: goals
-- The goals that are worked on, the first first.
SELECT goal_id, text, kind, priority, deadline, subject, predicate, start, target, progress, state, reason, created_at
FROM goals WHERE employee_id = $1 AND state = 'active' ORDER BY priority DESC, created_at, goal_id;

-- name: open_intentions
-- The plans that have not ended, and those with a step that has not, the oldest first, each with its steps.
SELECT i.intention_id, i.goal_id, i.title, i.why, i.state, i.reason, i.created_at,
  (SELECT jsonb_agg(jsonb_build_object('step', s.step, 'name', s.name, 'instruction', s.instruction, 'after', s.after,
      'state', s.state, 'outcome', s.outcome, 'waits', s.state = 'running' AND (
        m.processing_state = 'waiting' OR EXISTS (
          SELECT FROM message_workers w WHERE w.message_id = s.message_id AND w.state = 'waiting_for_input'))) ORDER BY s.step)
    FROM intention_steps s LEFT JOIN inbound_messages m USING (message_id) WHERE s.intention_id = i.intention_id) AS steps
FROM intentions i WHERE i.intention_id IN (
  SELECT intention_id FROM intentions WHERE employee_id = $1 AND ended_at IS NULL
  UNION SELECT intention_id FROM intention_steps WHERE employee_id = $1 AND state IN ('ready', 'running'))
ORDER BY i.created_at, i.intention_id;

-- name: ended_intentions
-- The plans for active goals that ended last, the newest first, each with its steps.
SELECT i.intention_id, i.goal_id, i.title, i.why, i.state, i.reason, i.created_at,
  (SELECT jsonb_agg(jsonb_build_object('step', s.step, 'name', s.name, 'instruction', s.instruction, 'after', s.after,
      'state', s.state, 'outcome', s.outcome) ORDER BY s.step)
    FROM intention_steps s WHERE s.intention_id = i.intention_id) AS steps
FROM intentions i JOIN goals g USING (goal_id)
WHERE i.employee_id = $1 AND i.ended_at IS NOT NULL AND g.state = 'active' ORDER BY i.ended_at DESC LIMIT $2;

-- name: ended_within_a_day
-- How many plans of each goal ended within a day, and how many of them failed.
SELECT goal_id, count(*)::int AS ended, count(*) FILTER (WHERE state = 'failed')::int AS failed FROM intentions
WHERE employee_id = $1 AND ended_at > now() - interval '1 day' GROUP BY goal_id;

-- name: planning
-- When a plan was made last, and why there has to be another; and a number that grows when something is forgotten.
SELECT planned_at, wanted, forgets FROM planning WHERE employee_id = $1;

-- name: ended_steps
-- Steps that were begun and have come to an end, as their messages tell: everything that is said about one leaves as replies and
-- follow-ups, the last part when no worker is at it any more. One that the control plane could not begin is failed already. Of a
-- message that is forgotten nothing is said.
SELECT s.intention_id, s.step, s.name, s.message_id, s.state = 'failed' OR m.processing_state IN ('failed', 'withheld')
    OR EXISTS (SELECT FROM message_workers w WHERE w.message_id = s.message_id AND w.state IN ('failed', 'cancelled')) AS failed,
  CASE WHEN m.forgotten THEN '' WHEN s.state = 'failed' THEN s.outcome WHEN m.processing_state IN ('failed', 'withheld') THEN m.reason ELSE coalesce((
    SELECT string_agg(o.body, E'\n\n' ORDER BY o.queued_at, o.part) FROM outbox o
    WHERE o.message_id = s.message_id AND o.kind IN ('reply', 'follow_up')), '') END AS outcome
FROM (
  SELECT s.* FROM intention_steps s WHERE s.employee_id = $1 AND s.state = 'running'
  UNION ALL
  SELECT s.* FROM intention_steps s JOIN intentions i USING (intention_id)
  WHERE i.employee_id = $1 AND i.ended_at IS NULL AND s.state = 'failed'
) s LEFT JOIN inbound_messages m USING (message_id)
WHERE s.state = 'failed' OR ((m.ended_at IS NOT NULL OR m.processing_state = 'sending')
  AND NOT EXISTS (SELECT FROM message_workers w WHERE w.message_id = s.message_id AND w.state IN ('running', 'waiting_for_input')))
ORDER BY s.intention_id, s.step LIMIT 100;

-- name: end_step
-- Keeps what came out of a step.
UPDATE intention_steps SET state = $3, outcome = left($4, 4000), ended_at = now()
WHERE intention_id = $1 AND step = $2 AND state = 'running';

-- name: skip_steps
-- Leaves out what has not begun.
UPDATE intention_steps SET state = 'skipped', ended_at = now() WHERE intention_id = $1 AND state IN ('planned', 'ready');

-- name: run
-- Begins to carry out a plan.
UPDATE intentions SET state = 'running' WHERE intention_id = $1 AND state = 'planned';

-- name: ready
-- Has the control plane begin steps of a plan that is carried out.
UPDATE intention_steps s SET state = 'ready', ready_at = now() FROM intentions i
WHERE i.intention_id = s.intention_id AND i.state = 'running' AND s.intention_id = $1 AND s.step = ANY ($2::int[]) AND s.state = 'planned';

-- name: end_intention
-- Ends a plan, and says why. Whether it was still open.
UPDATE intentions SET state = $2, reason = left($3, 1000), ended_at = now() WHERE intention_id = $1 AND ended_at IS NULL RETURNING true;

-- name: assess
-- Keeps how far a goal is, or that it has ended, and that it is so from now on. Nothing: an operator has ended it meanwhile.
WITH moved AS (
  UPDATE goals SET progress = $2, state = $3, reason = left($4, 1000), assessed_at = now(),
    ended_at = CASE WHEN $3 <> 'active' THEN now() END
  WHERE goal_id = $1 AND state = 'active' RETURNING goal_id, tenant_id, employee_id, state, progress, reason
)
INSERT INTO goal_changes (goal_id, tenant_id, employee_id, cycle_id, state, progress, reason)
SELECT goal_id, tenant_id, employee_id, $5, state, progress, reason FROM moved;

-- name: intend
-- Keeps a plan for a goal, if that is still worked on. Whether it was kept.
INSERT INTO intentions (intention_id, goal_id, tenant_id, employee_id, cycle_id, title, why)
SELECT $1, goal_id, tenant_id, employee_id, $3, $4, $5 FROM goals WHERE goal_id = $2 AND state = 'active' FOR SHARE
RETURNING true;

-- name: add_step
-- Keeps a step of a plan.
INSERT INTO intention_steps (intention_id, step, tenant_id, employee_id, name, instruction, after)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: want_plan
-- Notes why there has to be a plan.
INSERT INTO planning (employee_id, tenant_id, wanted) VALUES ($1, $2, left($3, 1000))
ON CONFLICT (employee_id) DO UPDATE SET wanted = excluded.wanted;

-- name: note_planned
-- Notes that a plan was made for that reason, or ($4) that it still has to be. What has asked for another since, goes on to do so.
INSERT INTO planning (employee_id, tenant_id, planned_at, wanted) VALUES ($1, $2, now(), CASE WHEN $4 THEN '' ELSE $3 END)
ON CONFLICT (employee_id) DO UPDATE SET wanted = excluded.wanted, planned_at = now() WHERE planning.wanted IN ('', $3);
