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
  SELECT memory_id FROM memories WHERE employee_id = $4 AND memory_id = ANY ($1::uuid[]) FOR KEY SHARE
), kept AS (
  INSERT INTO memory_vectors (memory_id, tenant_id, employee_id, model, embedding)
  SELECT memory_id, tenant_id, employee_id, $3, made.embedding::vector
  FROM fence, there JOIN unnest($1::uuid[], $2::text[]) made (memory_id, embedding) USING (memory_id)
  ON CONFLICT (memory_id) DO UPDATE SET model = excluded.model, embedding = excluded.embedding
  RETURNING memory_id
)
SELECT (SELECT count(*) FROM kept) AS kept FROM fence;

-- name: recall_by_meaning
-- Of the memories nearest to a question those that have to do with it ($4: how near any two texts are), scored by how near, how
-- recent and how important they are, facts before episodes. The question is read once: a cast in place would be done for each row.
WITH asked AS MATERIALIZED (SELECT $2::text::vector AS question)
SELECT memory_id, kind, content, source, created_at,
  (similarity - $4) / (1 - $4) * (0.5 + 0.5 * exp(-extract(epoch FROM now() - created_at) / (90 * 86400)))
    * (0.5 + importance) * CASE kind WHEN 'episodic' THEN 0.5 ELSE 1 END AS score
FROM (
  SELECT memory_id, 1 - distance AS similarity FROM (
    SELECT memory_id, embedding <=> (SELECT question FROM asked) AS distance
    FROM memory_vectors WHERE employee_id = $1 AND model = $3 ORDER BY distance LIMIT 4 * $5
  ) nearest
) near JOIN memories USING (memory_id)
WHERE similarity > $4
ORDER BY score DESC, created_at DESC LIMIT $5;
