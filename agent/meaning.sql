-- name: has_vectors
-- Whether there is a vector of this model.
SELECT EXISTS (SELECT FROM memory_vectors WHERE employee_id = $1 AND model = $2);

-- name: without_vector
-- Memories that have no vector of this model, the newest first.
SELECT m.memory_id, m.content FROM memories m
WHERE m.employee_id = $1 AND NOT EXISTS (SELECT FROM memory_vectors v WHERE v.memory_id = m.memory_id AND v.model = $2)
ORDER BY m.created_at DESC LIMIT $3;

-- name: keep_vectors
-- Keeps the vectors of those memories that are still there, in place of another model's; fenced. No row when a newer launch owns
-- the employee.
WITH fence AS MATERIALIZED (
  SELECT employee_id, tenant_id FROM employee_epochs WHERE employee_id = $4 AND epoch = $5 FOR KEY SHARE
), there AS MATERIALIZED (
  SELECT memory_id FROM memories WHERE employee_id = $4 AND memory_id = ANY ($1::uuid[])
  ORDER BY memory_id FOR KEY SHARE
), kept AS (
  INSERT INTO memory_vectors (memory_id, tenant_id, employee_id, model, embedding)
  SELECT memory_id, tenant_id, employee_id, $3, made.embedding::vector
  FROM fence, there JOIN unnest($1::uuid[], $2::text[]) made (memory_id, embedding) USING (memory_id)
  ON CONFLICT (memory_id) DO UPDATE SET model = excluded.model, embedding = excluded.embedding
  RETURNING memory_id
)
SELECT (SELECT count(*) FROM kept) AS kept FROM fence;
