-- name: begin_cycle
-- Opens a cycle for this epoch and closes those that an earlier launch left open; fenced.
WITH fence AS MATERIALIZED (
  SELECT employee_id, tenant_id, epoch FROM employee_epochs WHERE employee_id = $2 AND epoch = $3 FOR KEY SHARE
), left_open AS (
  UPDATE cycles c SET phase = 'done', outcome = 'lost', finished_at = now()
  FROM fence WHERE c.employee_id = fence.employee_id AND c.phase <> 'done'
)
INSERT INTO cycles (cycle_id, tenant_id, employee_id, epoch, phase)
SELECT $1, tenant_id, employee_id, epoch, 'perceive' FROM fence
RETURNING cycle_id;

-- name: new_events
-- What happened since the last cycle, oldest first, but for events $3.
SELECT event_id, kind, payload, occurred_at FROM employee_events
WHERE employee_id = $1 AND cycle_id IS NULL AND event_id <> ALL ($3::bigint[]) ORDER BY event_id LIMIT $2;

-- name: hold_events
-- Those of these events that nobody has had forgotten meanwhile, nor can before this transaction ends. What was asked to forget
-- something names it, and is not remembered either.
SELECT event_id FROM employee_events e WHERE event_id = ANY ($1::bigint[]) AND employee_id = $2 AND NOT EXISTS (
  SELECT FROM effects f WHERE f.message_id = (e.payload ->> 'message_id')::uuid AND f.action = 'forget' AND f.state = 'succeeded')
ORDER BY event_id FOR KEY SHARE;

-- name: end_perceive
-- Keeps what was perceived before thinking about it; fenced. Nothing: the cycle is closed, or a newer launch owns the employee.
WITH fence AS MATERIALIZED (
  SELECT employee_id FROM employee_epochs WHERE employee_id = $3 AND epoch = $4 FOR KEY SHARE
)
UPDATE cycles c SET phase = 'think', perceived = $2 FROM fence
WHERE c.cycle_id = $1 AND c.employee_id = fence.employee_id AND c.phase = 'perceive'
RETURNING c.cycle_id;

-- name: end_think
-- Keeps what was made of what was perceived, and what the models said to it cost; fenced. Nothing: as above.
WITH fence AS MATERIALIZED (
  SELECT employee_id FROM employee_epochs WHERE employee_id = $7 AND epoch = $8 FOR KEY SHARE
)
UPDATE cycles c SET phase = 'plan', intention = $2, model = $3, tokens_in = $4, tokens_out = $5, cost_micros = $6 FROM fence
WHERE c.cycle_id = $1 AND c.employee_id = fence.employee_id AND c.phase = 'think'
RETURNING c.cycle_id;

-- name: end_plan
-- Keeps the plan and what it cost, before acting on it; fenced. Nothing: as above.
WITH fence AS MATERIALIZED (
  SELECT employee_id FROM employee_epochs WHERE employee_id = $7 AND epoch = $8 FOR KEY SHARE
)
UPDATE cycles c SET phase = 'act', intention = coalesce(c.intention, '{}') || $2,
  model = concat_ws(', ', nullif(c.model, ''), nullif(CASE WHEN c.model <> $3 THEN $3 END, '')),
  tokens_in = c.tokens_in + $4, tokens_out = c.tokens_out + $5, cost_micros = c.cost_micros + $6
FROM fence
WHERE c.cycle_id = $1 AND c.employee_id = fence.employee_id AND c.phase = 'plan'
RETURNING c.cycle_id;

-- name: end_act
-- Closes the cycle together with the events it dealt with, so that none is dealt with twice; fenced. Nothing: as above.
WITH fence AS MATERIALIZED (
  SELECT employee_id FROM employee_epochs WHERE employee_id = $5 AND epoch = $6 FOR KEY SHARE
), closed AS (
  UPDATE cycles c SET phase = 'done', outcome = $2, finished_at = now(), intention = coalesce(c.intention, '{}') || $4 FROM fence
  WHERE c.cycle_id = $1 AND c.employee_id = fence.employee_id AND c.phase <> 'done'
  RETURNING c.cycle_id
), dealt_with AS (
  UPDATE employee_events e SET cycle_id = closed.cycle_id FROM closed WHERE e.event_id = ANY ($3::bigint[])
)
SELECT cycle_id FROM closed;

-- name: fail_cycle
-- Closes the cycle with those of its events that were dealt with, and leaves the others for the next one; fenced. Nothing: as above.
WITH fence AS MATERIALIZED (
  SELECT employee_id FROM employee_epochs WHERE employee_id = $4 AND epoch = $5 FOR KEY SHARE
), closed AS (
  UPDATE cycles c SET phase = 'done', outcome = 'failed', error = $2, finished_at = now() FROM fence
  WHERE c.cycle_id = $1 AND c.employee_id = fence.employee_id AND c.phase <> 'done'
  RETURNING c.cycle_id
), dealt_with AS (
  UPDATE employee_events e SET cycle_id = closed.cycle_id FROM closed WHERE e.event_id = ANY ($3::bigint[])
)
SELECT cycle_id FROM closed;
