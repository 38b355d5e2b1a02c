-- name: begin
-- The sub-agents of one call, once for each task, as long as their worker has at most $8 of them in all; fenced.
WITH fence AS MATERIALIZED (
  SELECT employee_id, tenant_id, epoch FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE
), begun AS (
  INSERT INTO sub_agents (sub_agent_id, task_index, instruction, worker_id, response_index, call_index, message_id, tenant_id,
    employee_id, epoch)
  SELECT t.sub_agent_id, t.task_index, t.instruction, $3, $4, $5, $6, tenant_id, employee_id, epoch
  FROM fence, jsonb_to_recordset($7::jsonb) AS t (sub_agent_id uuid, task_index int, instruction text)
  WHERE jsonb_array_length($7::jsonb)
    + (SELECT count(*) FROM sub_agents s WHERE s.employee_id = $1 AND s.worker_id = $3) <= $8
  ON CONFLICT DO NOTHING
)
SELECT epoch FROM fence;

-- name: of_call
-- The sub-agents of one call of a worker, in the order of their tasks.
SELECT * FROM sub_agents WHERE employee_id = $1 AND worker_id = $2 AND response_index = $3 AND call_index = $4
ORDER BY task_index;

-- name: of_worker
-- Every sub-agent that a worker has had.
SELECT sub_agent_id FROM sub_agents WHERE employee_id = $1 AND worker_id = $2;

-- name: commit_response
-- Makes a response of a sub-agent durable before its calls run, with what it took; fenced.
WITH fence AS MATERIALIZED (
  SELECT employee_id, epoch FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE
), counted AS (
  UPDATE sub_agents s SET responses = s.responses + 1, calls = s.calls + $6, worked_ms = $7, model = $8,
    tokens_in = s.tokens_in + $9, tokens_out = s.tokens_out + $10, cost_micros = s.cost_micros + $11, epoch = fence.epoch
  FROM fence WHERE s.employee_id = fence.employee_id AND s.sub_agent_id = $3 AND s.outcome IS NULL
  RETURNING s.sub_agent_id, s.message_id, s.tenant_id, s.employee_id, s.epoch
)
INSERT INTO model_responses (unit_id, response_index, message_id, tenant_id, employee_id, epoch, response)
SELECT sub_agent_id, $4, message_id, tenant_id, employee_id, epoch, $5 FROM counted
RETURNING response_index;

-- name: end
-- What became of a sub-agent, with what its last response took; fenced.
UPDATE sub_agents s SET outcome = $4, reason = $5, answer = $6, responses = s.responses + $12, worked_ms = $7,
  model = coalesce(nullif($8, ''), s.model), tokens_in = s.tokens_in + $9, tokens_out = s.tokens_out + $10,
  cost_micros = s.cost_micros + $11, finished_at = now(), epoch = fence.epoch
FROM (SELECT employee_id, epoch FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE) fence
WHERE s.employee_id = fence.employee_id AND s.sub_agent_id = $3 AND s.outcome IS NULL
RETURNING s.*;

-- name: cancel
-- Ends the sub-agents of a worker that is stopped; fenced.
UPDATE sub_agents s SET outcome = 'cancelled', reason = left($4, 1000), finished_at = now(), epoch = fence.epoch
FROM (SELECT employee_id, epoch FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE) fence
WHERE s.employee_id = fence.employee_id AND s.worker_id = $3 AND s.outcome IS NULL;
