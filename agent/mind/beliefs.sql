-- name: beliefs
-- All that is believed.
SELECT belief_id, subject, predicate, object, confidence, importance, supported_at, promoted FROM beliefs
WHERE employee_id = $1;

-- name: considered
-- Those of these events that have led to a change of a belief.
SELECT DISTINCT source FROM belief_changes WHERE employee_id = $1 AND source = ANY ($2::text[]);

-- name: hold
-- Keeps a belief as it is now, and what happened to it; fenced. Only one that is formed comes anew: what was forgotten meanwhile stays
-- so. Whether it is held; no row when a newer launch owns the employee.
WITH fence AS MATERIALIZED (
  SELECT employee_id, tenant_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE
), known AS MATERIALIZED (
  SELECT b.belief_id FROM beliefs b, fence WHERE b.belief_id = $3 AND b.employee_id = fence.employee_id FOR UPDATE OF b
), held AS (
  INSERT INTO beliefs (belief_id, tenant_id, employee_id, subject_key, predicate_key, subject, predicate, object, confidence,
    importance, supported_at, promoted)
  SELECT $3, tenant_id, employee_id, $4, $5, $6, $7, $8, $9, $10, $11, $16 FROM fence
  WHERE $12 = 'formed' OR EXISTS (SELECT FROM known)
  ON CONFLICT (employee_id, subject_key, predicate_key) DO UPDATE SET object = excluded.object, confidence = excluded.confidence,
    importance = excluded.importance, supported_at = excluded.supported_at, promoted = excluded.promoted
  RETURNING tenant_id, employee_id
), changed AS (
  INSERT INTO belief_changes (belief_id, tenant_id, employee_id, cycle_id, change, subject, predicate, object, confidence, why, source)
  SELECT $3, tenant_id, employee_id, $14, $12, $6, $7, $8, $9, $13, $15 FROM held
)
SELECT EXISTS (SELECT FROM held) AS held FROM fence;

-- name: drop
-- Believes something no longer; fenced. Whether it was held; no row when a newer launch owns the employee.
WITH fence AS MATERIALIZED (
  SELECT employee_id, tenant_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE
), gone AS MATERIALIZED (
  SELECT fence.tenant_id, fence.employee_id FROM fence, delete_own_beliefs(ARRAY(SELECT $3::uuid FROM fence))
), changed AS (
  INSERT INTO belief_changes (belief_id, tenant_id, employee_id, cycle_id, change, subject, predicate, object, confidence, why, source)
  SELECT $3, tenant_id, employee_id, $10, $8, $4, $5, $6, $7, $9, '' FROM gone
)
SELECT EXISTS (SELECT FROM gone) AS gone FROM fence;
