-- Finding memories in time that hardly grows with their number.

-- Words. Nothing that row security does not trust may decide which rows an index is asked for, and `@@` is not trusted: an
-- employee's own query has to read all its memories. The index has the employee as one more word, and a function that answers
-- for nobody but its caller may use it.
DROP INDEX memories_by_words;
CREATE INDEX memories_by_words ON memories USING gin ((words || array_to_tsvector(ARRAY[employee_id::text])));

-- At most `most` memories of the caller with words of a question, those with most of them first, and those of `near` in any case.
-- `coverage` is the share of the question's words that a memory has, each as heavy as it is rare. Words are looked for in the
-- newest 400 memories; one that fewer than 1 % of these have, in all of them, where its newest 200 count. So the work has an end
-- however many memories a word is in. A word with a digit in it that no memory has asks for nothing: it is some number or id.
CREATE FUNCTION own_memories_by_words(question text, near uuid[], most integer)
RETURNS TABLE (memory_id uuid, coverage double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = public, pg_temp AS $$
DECLARE
  -- Here current_user is the owner. Who is connected no statement of an employee can change.
  me uuid := CASE WHEN starts_with(session_user::text, 'empla_e_') THEN substr(session_user::text, 9)::uuid END;
BEGIN
  RETURN QUERY
  WITH asked AS MATERIALIZED (
    SELECT a.lexeme, ('''' || replace(replace(a.lexeme, '\', '\\'), '''', '''''') || '''')::tsquery AS word
    FROM unnest(to_tsvector('english', question)) a ORDER BY a.positions[1] LIMIT 24
  ), recent AS MATERIALIZED (
    SELECT m.memory_id, m.words FROM memories m WHERE m.employee_id = me ORDER BY m.created_at DESC LIMIT 400
  ), size AS MATERIALIZED (
    SELECT count(*)::double precision AS recent FROM recent
  ), heard AS MATERIALIZED (
    SELECT a.lexeme, a.word, count(r.memory_id) AS times
    FROM asked a LEFT JOIN recent r ON r.words @@ a.word GROUP BY a.lexeme, a.word
  ), rare AS MATERIALIZED (
    SELECT h.lexeme, f.memory_id FROM heard h, size, LATERAL (
      SELECT n.memory_id FROM (
        SELECT m.memory_id, m.created_at FROM memories m
        WHERE m.words || array_to_tsvector(ARRAY[m.employee_id::text]) @@ (quote_literal(me)::tsquery && h.word)
          AND m.employee_id = me LIMIT 1000
      ) n ORDER BY n.created_at DESC LIMIT 200
    ) f WHERE h.times < 4 AND size.recent = 400
  ), weighed AS MATERIALIZED (
    SELECT h.word, ln(1 + 1 / CASE
      WHEN h.times < 4 AND size.recent = 400 THEN greatest(0.5, r.times) / 20000
      ELSE greatest(0.5, h.times) / greatest(size.recent, 1) END) AS weight,
      h.times > 0 OR r.times > 0 OR h.lexeme !~ '\d' AS counts
    FROM heard h CROSS JOIN size
    CROSS JOIN LATERAL (SELECT count(*) AS times FROM rare WHERE rare.lexeme = h.lexeme) r
  ), candidate AS (
    SELECT rare.memory_id FROM rare
    UNION SELECT r.memory_id FROM recent r JOIN asked a ON r.words @@ a.word
    UNION SELECT unnest(near)
  ), covered AS (
    SELECT m.memory_id, m.created_at,
      coalesce((SELECT sum(w.weight) FILTER (WHERE m.words @@ w.word) / sum(w.weight) FROM weighed w WHERE w.counts), 0) AS share
    FROM candidate c, LATERAL ( -- with a limit it is looked up by its key, whatever the planner expects of a set of unknown size
      SELECT * FROM memories WHERE memories.memory_id = c.memory_id AND memories.employee_id = me LIMIT 1
    ) m
  ), placed AS (
    SELECT c.*, row_number() OVER (ORDER BY c.share DESC, c.created_at DESC) AS place FROM covered c
  )
  SELECT p.memory_id, p.share::double precision FROM placed p WHERE p.place <= most OR p.memory_id = ANY (near);
END $$;
REVOKE ALL ON FUNCTION own_memories_by_words FROM PUBLIC;
GRANT EXECUTE ON FUNCTION own_memories_by_words TO empla_employee;

-- Meaning. A graph over the vectors (HNSW) does not find a single fact among many memories that are much alike, so each of an
-- employee's is looked at: by the signs of its values first, which lie side by side in an index, then those few in full.
ALTER TABLE memory_vectors ADD COLUMN signs bit(384) NOT NULL GENERATED ALWAYS AS (binary_quantize(embedding)::bit(384)) STORED;
DROP INDEX memory_vectors_by_model;
CREATE INDEX memory_vectors_by_signs ON memory_vectors (employee_id, model) INCLUDE (memory_id, signs);
