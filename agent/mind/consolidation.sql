-- name: fence
-- First lock, the order is that of everybody: holds this launch until the transaction ends; nothing when a newer one owns the employee.
SELECT tenant_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE;

-- name: record
-- Keeps as a cycle what was learnt while there was nothing else to do, and what the models said to it cost; fenced. No row when a
-- newer launch owns the employee.
INSERT INTO cycles (cycle_id, tenant_id, employee_id, epoch, phase, outcome, intention, model, tokens_in, tokens_out, cost_micros,
  started_at, finished_at)
SELECT $1, tenant_id, employee_id, epoch, 'done', 'acted', $2, $3, $4, $5, $6, now(), now() FROM
  (SELECT employee_id, tenant_id, epoch FROM employee_epochs WHERE employee_id = $7 AND epoch = $8 FOR KEY SHARE) fence
RETURNING cycle_id;

-- name: fade
-- Forgets at most $3 episodes of which too little is left; fenced. How many; no row when a newer launch owns the employee.
WITH fence AS MATERIALIZED (
  SELECT employee_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE
), faded AS MATERIALIZED (
  SELECT memory_id FROM memories WHERE employee_id = $1 AND kind = 'episodic' AND fades_at < now() ORDER BY fades_at LIMIT $3
), held AS MATERIALIZED ( -- in the order in which whoever forgets some locks them
  SELECT m.memory_id FROM memories m, fence WHERE m.employee_id = fence.employee_id
    AND m.memory_id IN (SELECT memory_id FROM faded) AND m.fades_at < now()
  ORDER BY m.memory_id FOR UPDATE OF m
), gone AS MATERIALIZED (
  SELECT delete_own_memories(ARRAY(SELECT memory_id FROM held))
)
SELECT (SELECT count(*) FROM gone) AS gone FROM fence;
