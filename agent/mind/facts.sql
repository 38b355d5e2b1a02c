-- name: new_episodes
-- The latest episodes in which no facts have been looked for yet, the newest first. A run of a schedule only repeats what was said
-- before.
SELECT memory_id, content, source, created_at FROM memories m WHERE employee_id = $1 AND kind = 'episodic' AND NOT generalised
  AND NOT EXISTS (
    SELECT FROM inbound_messages i WHERE starts_with(i.event_id, 'schedule:')
      AND i.message_id = CASE WHEN substr(m.source, 9) ~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$'
        THEN substr(m.source, 9)::uuid END
  )
ORDER BY created_at DESC LIMIT $2;

-- name: latest_facts
-- The facts that were learnt last.
SELECT content FROM memories WHERE employee_id = $1 AND kind = 'semantic' ORDER BY created_at DESC LIMIT $2;

-- name: facts_like
-- The facts that have the most words of a text.
SELECT content FROM memories, (SELECT replace(plainto_tsquery('english', $2)::text, '&', '|')::tsquery AS q) wanted
WHERE employee_id = $1 AND kind = 'semantic' AND words @@ q ORDER BY ts_rank(words, q) DESC LIMIT $3;

-- name: hold_episodes
-- The episodes up to a time in which no facts have been looked for; nobody can have them forgotten before the transaction ends.
SELECT source FROM memories WHERE employee_id = $1 AND kind = 'episodic' AND NOT generalised AND created_at <= $2
ORDER BY memory_id FOR UPDATE;

-- name: looked_through
-- Notes that facts were looked for in the episodes up to a time; fenced. No row when a newer launch owns the employee.
WITH fence AS MATERIALIZED (
  SELECT employee_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE
), looked AS (
  UPDATE memories m SET generalised = true FROM fence
  WHERE m.employee_id = fence.employee_id AND m.kind = 'episodic' AND NOT m.generalised AND m.created_at <= $3
)
SELECT employee_id FROM fence;

-- name: keep_evidence
-- Notes what a fact rests on; fenced.
INSERT INTO memory_evidence (memory_id, source, tenant_id, employee_id)
SELECT $3, source, tenant_id, employee_id
FROM (SELECT employee_id, tenant_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE) fence,
  unnest($4::text[]) source;
