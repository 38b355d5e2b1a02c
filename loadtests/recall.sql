-- name: graph
-- A copy of an employee's vectors for the index that is usual over them; it has no other employee's in it.
CREATE TABLE {table} AS SELECT memory_id, content, embedding FROM memory_vectors JOIN memories USING (memory_id)
WHERE memory_vectors.employee_id = '{employee}' ORDER BY created_at;
CREATE INDEX ON {table} USING hnsw (embedding vector_cosine_ops);
ANALYZE {table}

-- name: nearest
-- The memories nearest to a question, every vector looked at.
SELECT content FROM memory_vectors JOIN memories USING (memory_id) WHERE memory_vectors.employee_id = $1
ORDER BY embedding <=> (SELECT $2::text::vector) LIMIT $3

-- name: nearest_in_graph
-- The same through the index.
SELECT content FROM {table} WHERE $1::uuid IS NOT NULL ORDER BY embedding <=> (SELECT $2::text::vector) LIMIT $3

-- name: with_all_words
-- The memories with all words of a question, as PostgreSQL ranks them.
SELECT content FROM memories, websearch_to_tsquery('english', $2) q WHERE employee_id = $1 AND words @@ q
ORDER BY ts_rank(words, q) DESC LIMIT $3

-- name: with_any_word
-- The memories with some word of a question, as PostgreSQL ranks them.
SELECT content FROM memories, (SELECT replace(plainto_tsquery('english', $2)::text, '&', '|')::tsquery AS q) asked
WHERE employee_id = $1 AND words @@ q ORDER BY ts_rank(words, q) DESC LIMIT $3
