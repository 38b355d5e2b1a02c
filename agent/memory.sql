-- name: remember
-- Keeps a memory once: the same words from the same source are not kept twice; fenced. Its id, or NULL when it was known;
-- no row when a newer launch owns the employee.
WITH fence AS MATERIALIZED (
  SELECT employee_id, tenant_id FROM employee_epochs WHERE employee_id = $6 AND epoch = $7 FOR KEY SHARE
), kept AS (
  INSERT INTO memories (memory_id, tenant_id, employee_id, kind, content, source, importance)
  SELECT $1, tenant_id, employee_id, $2, $3, $4, $5 FROM fence
  ON CONFLICT DO NOTHING
  RETURNING memory_id
)
SELECT kept.memory_id FROM fence LEFT JOIN kept ON true;

-- name: unlearn
-- Removes what was learnt from a source; fenced. Nothing: a newer launch owns the employee.
WITH fence AS MATERIALIZED (
  SELECT employee_id FROM employee_epochs WHERE employee_id = $2 AND epoch = $3 FOR KEY SHARE
), gone AS (
  DELETE FROM memories m USING fence WHERE m.employee_id = fence.employee_id AND m.source = $1
)
SELECT employee_id FROM fence;

-- name: recall
-- Memories that share a word with the query, facts before episodes, the best first.
SELECT memory_id, kind, content, source, importance, created_at,
  ts_rank(words, q) * (0.5 + importance) * CASE kind WHEN 'episodic' THEN 0.5 ELSE 1 END AS score
FROM memories, (SELECT replace(plainto_tsquery('english', $2)::text, '&', '|')::tsquery AS q) wanted
WHERE employee_id = $1 AND words @@ q
ORDER BY score DESC, created_at DESC LIMIT $3;
