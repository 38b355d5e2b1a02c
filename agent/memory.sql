-- name: remember
-- Keeps a memory once: the same words from the same source are not kept twice; fenced. Its id, or NULL when it was known;
-- no row when a newer launch owns the employee.
WITH fence AS MATERIALIZED (
  SELECT employee_id, tenant_id FROM employee_epochs WHERE employee_id = $6 AND epoch = $7 FOR KEY SHARE
), kept AS (
  INSERT INTO memories (memory_id, tenant_id, employee_id, kind, content, source, importance, message_id)
  SELECT $1, tenant_id, employee_id, $2, $3, $4, $5, $8 FROM fence
  ON CONFLICT DO NOTHING
  RETURNING memory_id
)
SELECT kept.memory_id FROM fence LEFT JOIN kept ON true;

-- name: unlearn
-- Removes what was learnt from a source; fenced. Nothing: a newer launch owns the employee.
WITH fence AS MATERIALIZED (
  SELECT employee_id FROM employee_epochs WHERE employee_id = $2 AND epoch = $3 FOR KEY SHARE
), gone AS MATERIALIZED (
  SELECT delete_own_memories(ARRAY(SELECT memory_id FROM memories WHERE employee_id = fence.employee_id AND source = $1)) FROM fence
)
SELECT employee_id, (SELECT count(*) FROM gone) AS gone FROM fence;

-- name: newest
-- The newest memories.
SELECT memory_id, kind, content, source, created_at FROM memories WHERE employee_id = $1 ORDER BY created_at DESC LIMIT $2;

-- name: recall
-- Memories that share words with the query or, where there is a vector of it ($3, of model $4), mean something near to it ($5: how
-- near any two texts are); scored by how much of both, how recent and how important they are, facts before episodes. Of the vectors
-- all signs are compared, then those 4,096 in full whose signs fit best. They are compared with which of the question's values are
-- over 0.05, 0 and -0.05, a standard deviation apart: that tells values that count from those near to nothing, and finds what the
-- question's signs alone find among twice as many. The vector is read once: a cast in place would be done for each row. What was
-- found is looked up row by row, for which a limit stands: how many rows that is the planner cannot know.
WITH asked AS MATERIALIZED (
  SELECT question, binary_quantize(question)::bit(384) AS signs,
    binary_quantize(question - array_fill(0.05::real, ARRAY[384])::vector)::bit(384) AS high,
    binary_quantize(question + array_fill(0.05::real, ARRAY[384])::vector)::bit(384) AS low
  FROM (SELECT $3::text::vector AS question) given
), near AS MATERIALIZED (
  SELECT memory_id FROM (
    SELECT memory_id FROM memory_vectors WHERE employee_id = $1 AND model = $4 AND $3::text IS NOT NULL
    ORDER BY (signs <~> (SELECT signs FROM asked)) + (signs <~> (SELECT high FROM asked)) + (signs <~> (SELECT low FROM asked))
    LIMIT 4096
  ) alike, LATERAL (SELECT embedding FROM memory_vectors v WHERE v.memory_id = alike.memory_id LIMIT 1) v
  ORDER BY embedding <=> (SELECT question FROM asked) LIMIT 64
), found AS (
  SELECT w.memory_id, coverage, coalesce(1 - (embedding <=> (SELECT question FROM asked)), 0) AS similarity
  FROM own_memories_by_words($2, ARRAY(SELECT memory_id FROM near), 64) w LEFT JOIN LATERAL (
    SELECT embedding FROM memory_vectors v WHERE v.memory_id = w.memory_id AND v.model = $4 LIMIT 1
  ) v ON true
)
SELECT m.memory_id, kind, content, source, created_at, coverage,
  (coverage + 2 * greatest(0, similarity - $5) / (1 - $5))
    * (0.8 + 0.2 * exp(-extract(epoch FROM now() - created_at) / (90 * 86400)))
    * (0.5 + importance) * CASE kind WHEN 'episodic' THEN 0.5 ELSE 1 END AS score
FROM found, LATERAL (SELECT * FROM memories WHERE memory_id = found.memory_id LIMIT 1) m
WHERE coverage > 0 OR similarity > $5
ORDER BY score DESC, created_at DESC LIMIT $6;

-- name: reinforce
-- Counts that memories were recalled; fenced. No row when a newer launch owns the employee.
WITH fence AS MATERIALIZED (
  SELECT employee_id FROM employee_epochs WHERE employee_id = $3 AND epoch = $4 FOR KEY SHARE
), held AS MATERIALIZED ( -- in the order in which whoever forgets some locks them
  SELECT m.memory_id FROM memories m, fence WHERE m.memory_id = ANY ($1::uuid[]) AND m.employee_id = fence.employee_id
  ORDER BY m.memory_id FOR UPDATE OF m
), counted AS (
  UPDATE memories m SET recall_count = m.recall_count + recalled.times, last_recalled_at = now()
  FROM held, unnest($1::uuid[], $2::integer[]) recalled (memory_id, times)
  WHERE m.memory_id = held.memory_id AND m.memory_id = recalled.memory_id
)
SELECT employee_id FROM fence;
