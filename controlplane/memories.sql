-- name: search
-- An employee's memories that share a word with the query, the best first; without one the newest.
SELECT memory_id, kind, content, source, importance, created_at, ts_rank(words, q) * (0.5 + importance) AS score
FROM memories, (SELECT replace(plainto_tsquery('english', $2)::text, '&', '|')::tsquery AS q) wanted
WHERE employee_id = $1 AND ($2 = '' OR words @@ q)
ORDER BY score DESC, created_at DESC LIMIT $3;

-- name: forget
-- Removes memories with their vectors: one by its id, those of a person (learnt from a message of theirs, or naming them), those
-- learnt in a conversation, or those with all words of a subject.
DELETE FROM memories WHERE memory_id IN (
  SELECT memory_id FROM memories m WHERE employee_id = $1 AND CASE $2
    WHEN 'memory_id' THEN memory_id::text = $3
    WHEN 'person' THEN words @@ phraseto_tsquery('english', $3)
      OR coalesce(m.message_id::text, substr(source, 9)) IN (
        SELECT i.message_id::text FROM inbound_messages i WHERE i.employee_id = $1 AND lower(i.sender) = lower($3))
    WHEN 'conversation' THEN coalesce(m.message_id::text, substr(source, 9)) IN (
        SELECT i.message_id::text FROM inbound_messages i JOIN conversations c USING (conversation_id)
        WHERE i.employee_id = $1 AND $3 IN (c.external_id, c.conversation_id::text))
    WHEN 'subject' THEN words @@ plainto_tsquery('english', $3)
  END LIMIT $4
) RETURNING memory_id;

-- name: forget_beliefs
-- Removes beliefs, with their changes and the facts that they have become, by the same measure; what went.
WITH told AS (
  SELECT belief_id, source, to_tsvector('english', concat_ws(' ', subject, predicate, object)) AS words
  FROM belief_changes WHERE employee_id = $1
), matched AS (
  SELECT DISTINCT belief_id FROM told WHERE CASE $2
    WHEN 'memory_id' THEN belief_id::text = $3 OR EXISTS (
      SELECT FROM memories m WHERE m.employee_id = $1 AND m.memory_id::text = $3 AND m.source = 'belief:' || told.belief_id)
    WHEN 'person' THEN words @@ phraseto_tsquery('english', $3) OR substr(source, 9) IN (
      SELECT i.message_id::text FROM inbound_messages i WHERE i.employee_id = $1 AND lower(i.sender) = lower($3))
    WHEN 'conversation' THEN substr(source, 9) IN (
      SELECT i.message_id::text FROM inbound_messages i JOIN conversations c USING (conversation_id)
      WHERE i.employee_id = $1 AND $3 IN (c.external_id, c.conversation_id::text))
    WHEN 'subject' THEN words @@ plainto_tsquery('english', $3)
  END
), held AS (
  DELETE FROM beliefs b USING matched WHERE b.employee_id = $1 AND b.belief_id = matched.belief_id
), history AS (
  DELETE FROM belief_changes c USING matched WHERE c.employee_id = $1 AND c.belief_id = matched.belief_id
), facts AS (
  DELETE FROM memories m USING matched WHERE m.employee_id = $1 AND m.source = 'belief:' || matched.belief_id
  RETURNING m.memory_id
)
SELECT belief_id, NULL AS memory_id FROM matched UNION ALL SELECT NULL, memory_id FROM facts;

-- name: forget_events
-- Removes what happened and is not remembered yet, by the same measure.
DELETE FROM employee_events WHERE employee_id = $1 AND cycle_id IS NULL AND kind = 'message_handled' AND CASE $2
  WHEN 'person' THEN lower(payload ->> 'sender') = lower($3)
    OR to_tsvector('english', concat_ws(' ', payload ->> 'asked', payload ->> 'answered')) @@ phraseto_tsquery('english', $3)
  WHEN 'conversation' THEN payload ->> 'message_id' IN (
    SELECT i.message_id::text FROM inbound_messages i JOIN conversations c USING (conversation_id)
    WHERE i.employee_id = $1 AND $3 IN (c.external_id, c.conversation_id::text))
  WHEN 'subject' THEN to_tsvector('english', concat_ws(' ', payload ->> 'asked', payload ->> 'answered'))
    @@ plainto_tsquery('english', $3)
  ELSE false
END;

-- name: hold_beliefs
-- Waits for a cycle that changes beliefs, so that the statements from here on see its changes.
SELECT FROM beliefs WHERE employee_id = $1 ORDER BY belief_id FOR UPDATE;

-- name: record
-- Who had what forgotten: which memories and beliefs, not what they said.
INSERT INTO audit_log (tenant_id, actor, action, subject, detail) VALUES ($1, $2, 'memory.forget', $3::uuid::text, $4);
