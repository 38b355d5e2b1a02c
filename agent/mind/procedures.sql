-- name: procedures
-- All procedures.
SELECT procedure_id, trigger, steps, actions, words, runs, successes, state FROM procedures WHERE employee_id = $1;

-- name: requests
-- The last $2 requests for each procedure that is told.
SELECT p.procedure_id, r.request FROM procedures p CROSS JOIN LATERAL (
  SELECT request FROM procedure_runs WHERE employee_id = $1 AND procedure_id = p.procedure_id AND request <> ''
  ORDER BY sequence DESC LIMIT $2
) r WHERE p.employee_id = $1 AND p.state = 'promoted';

-- name: note_runs
-- Notes how the parts of messages that are over were done, each once, of the last $3 messages; older notes go. What looks like an
-- injection is not learnt from. How many were noted; no row when a newer launch owns the employee.
WITH fence AS MATERIALIZED (
  SELECT employee_id, tenant_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE
), recent AS MATERIALIZED (
  SELECT message_id, sequence, processing_state, ended_at FROM inbound_messages WHERE employee_id = $1
  ORDER BY sequence DESC LIMIT $3
), past AS MATERIALIZED (
  SELECT delete_own_procedure_runs(ARRAY(
    SELECT unit_id FROM procedure_runs WHERE employee_id = fence.employee_id AND sequence < (SELECT min(sequence) FROM recent)
  )) FROM fence
), fresh AS MATERIALIZED (
  SELECT r.*, w.worker_id, w.state, w.starts, w.ends,
    EXISTS (SELECT FROM reviews v WHERE v.message_id = r.message_id AND (v.worker_id IS NULL OR v.worker_id = w.worker_id)
      AND (v.kind = 'needs_manual_intervention' OR v.decision ->> 'decision' = 'reject')) AS objected
  FROM recent r CROSS JOIN LATERAL (
    SELECT worker_id, state, (intent ->> 'start')::int AS starts, (intent ->> 'end')::int AS ends
    FROM message_workers WHERE message_id = r.message_id OFFSET 0 -- by the index, however the planner counts
  ) w
  WHERE r.ended_at IS NOT NULL AND w.state NOT IN ('running', 'waiting_for_input')
    AND NOT EXISTS (SELECT FROM procedure_runs p WHERE p.employee_id = $1 AND p.unit_id = w.worker_id)
  ORDER BY r.sequence LIMIT $4
), noted AS (
  INSERT INTO procedure_runs (unit_id, message_id, sequence, tenant_id, employee_id, request, actions, told, succeeded, ended_at)
  SELECT f.worker_id, f.message_id, f.sequence, fence.tenant_id, fence.employee_id,
    CASE WHEN (filtered.output ->> 'injection_score')::int = 0
      THEN left(substr(filtered.output ->> 'text', f.starts + 1, f.ends - f.starts), 500) ELSE '' END,
    ARRAY(
      SELECT action FROM (
        SELECT action, response_index, call_index, lag(action) OVER (ORDER BY response_index, call_index) AS before
        FROM effects e WHERE e.message_id = f.message_id AND e.unit_id = f.worker_id AND e.state = 'succeeded'
      ) done WHERE action IS DISTINCT FROM before ORDER BY response_index, call_index LIMIT 20
    ),
    ARRAY(SELECT (p ->> 'procedure_id')::uuid FROM jsonb_array_elements(coalesce(meant.output, context.output) -> 'procedures') p),
    CASE
      WHEN f.objected OR f.state = 'failed' OR f.processing_state = 'failed' THEN false
      WHEN f.state = 'done' AND f.processing_state = 'answered' THEN true
    END,
    f.ended_at
  FROM fence CROSS JOIN fresh f
  CROSS JOIN LATERAL (
    SELECT a.output FROM step_attempts a WHERE a.employee_id = $1 AND a.unit_id = f.message_id
      AND a.step = 'security_filter' AND a.outcome = 'succeeded' ORDER BY a.attempt DESC LIMIT 1
  ) filtered
  LEFT JOIN LATERAL (
    SELECT a.output FROM step_attempts a WHERE a.employee_id = $1 AND a.unit_id = f.message_id
      AND a.step = 'context_retrieval' AND a.outcome = 'succeeded' ORDER BY a.attempt DESC LIMIT 1
  ) context ON true
  LEFT JOIN LATERAL ( -- it is told what was found by its meaning, where that was
    SELECT a.output FROM step_attempts a WHERE a.employee_id = $1 AND a.unit_id = f.message_id
      AND a.step = 'classification' AND a.outcome = 'succeeded' AND a.output ? 'procedures' ORDER BY a.attempt DESC LIMIT 1
  ) meant ON true
  ORDER BY f.worker_id -- as whoever forgets them does
  ON CONFLICT DO NOTHING
  RETURNING unit_id
)
SELECT (SELECT count(*) FROM noted) AS noted, (SELECT count(*) FROM past) AS past FROM fence;

-- name: loose_runs
-- The latest runs that count for no procedure yet, oldest first.
SELECT unit_id, message_id, request, actions, told, succeeded FROM (
  SELECT * FROM procedure_runs WHERE employee_id = $1 AND procedure_id IS NULL AND NOT tried AND succeeded IS NOT NULL
    AND request <> '' AND (cardinality(actions) > 1 OR cardinality(told) > 0)
  ORDER BY sequence DESC LIMIT $2
) latest ORDER BY sequence;

-- name: calls_of
-- What a run did, in order.
SELECT action, arguments FROM effects WHERE message_id = $1 AND employee_id = $2 AND unit_id = $3 AND state = 'succeeded'
ORDER BY response_index, call_index LIMIT 20;

-- name: hold_runs
-- Those of these runs that count for nothing yet and that nobody has had forgotten, nor can before this transaction ends.
SELECT unit_id FROM procedure_runs WHERE employee_id = $1 AND unit_id = ANY ($2::uuid[]) AND procedure_id IS NULL AND request <> ''
ORDER BY unit_id FOR UPDATE;

-- name: count_runs
-- Counts runs for a procedure, which may change its state by it; fenced. Whether it is there; no row when a newer launch owns the
-- employee.
WITH fence AS MATERIALIZED (
  SELECT employee_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE
), noted AS (
  UPDATE procedure_runs r SET procedure_id = $3 FROM fence WHERE r.employee_id = fence.employee_id AND r.unit_id = ANY ($4::uuid[])
), counted AS (
  UPDATE procedures p SET runs = $5, successes = $6, state = $7, last_run_at = now(),
    changed_at = CASE WHEN p.state = $7 THEN p.changed_at ELSE now() END
  FROM fence WHERE p.procedure_id = $3 AND p.employee_id = fence.employee_id
  RETURNING p.procedure_id
)
SELECT EXISTS (SELECT FROM counted) AS there FROM fence;

-- name: learn
-- Keeps a procedure together with the runs that it was learnt from; fenced. No row when a newer launch owns the employee.
WITH fence AS MATERIALIZED (
  SELECT employee_id, tenant_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE
), noted AS (
  UPDATE procedure_runs r SET procedure_id = $3 FROM fence WHERE r.employee_id = fence.employee_id AND r.unit_id = ANY ($4::uuid[])
), learnt AS (
  INSERT INTO procedures (procedure_id, tenant_id, employee_id, trigger, steps, actions, words, runs, successes, state, learnt_in)
  SELECT $3, tenant_id, employee_id, $5, $6, $7, $8, $9, $10, $11, $12 FROM fence
)
SELECT employee_id FROM fence;

-- name: drop_procedures
-- Of more than $3 procedures those go that are demoted or were used longest ago; fenced.
SELECT delete_own_procedures(ARRAY(
  SELECT procedure_id FROM procedures WHERE employee_id = fence.employee_id ORDER BY state = 'demoted', last_run_at DESC OFFSET $3
)) FROM (SELECT employee_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE) fence;

-- name: tried
-- Notes that no procedure was found in runs, so that nobody is asked about them again; fenced. No row when a newer launch owns the
-- employee.
WITH fence AS MATERIALIZED (
  SELECT employee_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE
), noted AS (
  UPDATE procedure_runs r SET tried = true FROM fence WHERE r.employee_id = fence.employee_id AND r.unit_id = ANY ($3::uuid[])
)
SELECT employee_id FROM fence;
