-- name: search
-- What an employee remembers of a kind, '' of any, that shares a word with the query, the best first; without one the newest.
-- Procedures and notes count among it.
WITH wanted AS MATERIALIZED (SELECT replace(plainto_tsquery('english', $2)::text, '&', '|')::tsquery AS q), kept AS (
  (SELECT memory_id, kind, content, source, importance, created_at, ts_rank(words, q) * (0.5 + importance) AS score,
     recall_count AS uses, NULL::integer AS successes, '' AS state, fades_at AS ends_at
   FROM memories, wanted WHERE employee_id = $1 AND ($2 = '' OR words @@ q) AND $4 IN ('', kind)
   ORDER BY score DESC, created_at DESC LIMIT $3)
  UNION ALL
  SELECT procedure_id, 'procedural', content, 'message:' || learnt_in[cardinality(learnt_in)], rate, created_at,
    ts_rank(to_tsvector('english', content), q) * (0.5 + rate), runs, successes, state, NULL
  FROM wanted, procedures p
  CROSS JOIN LATERAL (SELECT successes::real / greatest(runs, 1) AS rate, p.trigger || coalesce((
    SELECT string_agg(E'\n' || place || '. ' || (step ->> 'how') || coalesce(' (' || nullif(step ->> 'action', '') || ')', ''), ''
      ORDER BY place)
    FROM jsonb_array_elements(steps) WITH ORDINALITY AS each (step, place)), '') AS content) told
  WHERE employee_id = $1 AND ($2 = '' OR to_tsvector('english', content) @@ q) AND $4 IN ('', 'procedural')
  UNION ALL
  SELECT note_id, 'working', content, 'message:' || message_id, 0.5::real, noted_at, ts_rank(to_tsvector('english', content), q),
    0, NULL, '', expires_at
  FROM wanted, working_notes
  WHERE employee_id = $1 AND expires_at > now() AND ($2 = '' OR to_tsvector('english', content) @@ q) AND $4 IN ('', 'working')
)
SELECT * FROM kept ORDER BY score DESC, created_at DESC LIMIT $3;

-- name: one_at_a_time
-- Waits for whoever has this employee forget something: of two at once each would take what a fact rests on to be still there.
SELECT FROM employees WHERE employee_id = $1 FOR NO KEY UPDATE;

-- name: matching
-- Memories: one by its id, those of a person (learnt from a message of theirs, or naming them), those learnt in a conversation, or
-- those with all words of a subject. Nothing is made of them any more before the transaction ends.
SELECT memory_id, source FROM memories m WHERE employee_id = $1 AND CASE $2
  WHEN 'memory_id' THEN memory_id::text = $3
  WHEN 'person' THEN words @@ phraseto_tsquery('english', $3)
    OR coalesce(m.message_id::text, substr(source, 9)) IN (
      SELECT i.message_id::text FROM inbound_messages i WHERE i.employee_id = $1 AND lower(i.sender) = lower($3))
  WHEN 'conversation' THEN coalesce(m.message_id::text, substr(source, 9)) IN (
      SELECT i.message_id::text FROM inbound_messages i JOIN conversations c USING (conversation_id)
      WHERE i.employee_id = $1 AND $3 IN (c.external_id, c.conversation_id::text))
  WHEN 'subject' THEN words @@ plainto_tsquery('english', $3)
END ORDER BY memory_id LIMIT $4 FOR UPDATE;

-- name: forget
-- Removes memories with their vectors.
DELETE FROM memories WHERE employee_id = $1 AND memory_id = ANY ($2::uuid[]);

-- name: forget_facts
-- Takes from facts what they rest on, which is the episodes with these sources, and those that have faded, by the same measure.
-- Facts that rest on nothing else go; which.
WITH matched AS MATERIALIZED (
  SELECT memory_id, source FROM memory_evidence WHERE employee_id = $1 AND (source = ANY ($4::text[]) OR CASE $2
    WHEN 'person' THEN substr(source, 9) IN (
      SELECT i.message_id::text FROM inbound_messages i WHERE i.employee_id = $1 AND lower(i.sender) = lower($3))
    WHEN 'conversation' THEN substr(source, 9) IN (
      SELECT i.message_id::text FROM inbound_messages i JOIN conversations c USING (conversation_id)
      WHERE i.employee_id = $1 AND $3 IN (c.external_id, c.conversation_id::text))
    ELSE false
  END)
), weakened AS (
  DELETE FROM memory_evidence e USING matched WHERE e.memory_id = matched.memory_id AND e.source = matched.source
)
DELETE FROM memories m WHERE m.employee_id = $1 AND m.memory_id IN (SELECT memory_id FROM matched) AND NOT EXISTS (
  SELECT FROM memory_evidence e WHERE e.memory_id = m.memory_id
    AND NOT EXISTS (SELECT FROM matched WHERE matched.memory_id = e.memory_id AND matched.source = e.source))
RETURNING m.memory_id, m.source;

-- name: forget_runs
-- Has nothing learnt any more from work on those of the last $3 messages that are forgotten, or for the procedure $2, whether it is
-- noted yet or not.
INSERT INTO procedure_runs (unit_id, message_id, sequence, tenant_id, employee_id, request, actions, told, ended_at)
SELECT w.worker_id, i.message_id, i.sequence, i.tenant_id, i.employee_id, '', '{}', '{}', now()
FROM (SELECT * FROM inbound_messages WHERE employee_id = $1 ORDER BY sequence DESC LIMIT $3) i JOIN message_workers w USING (message_id)
WHERE i.forgotten OR EXISTS (
  SELECT FROM procedure_runs r WHERE r.employee_id = $1 AND r.unit_id = w.worker_id AND r.procedure_id::text = $2)
ORDER BY w.worker_id
ON CONFLICT (employee_id, unit_id) DO UPDATE SET request = '', actions = '{}', told = '{}';

-- name: forget_procedures
-- Removes procedures by the same measure: by id, by their words, or because they were learnt from nothing else; which.
WITH told AS MATERIALIZED (
  SELECT p.procedure_id, source.message_id, coalesce(CASE $2
    WHEN 'person' THEN lower(i.sender) = lower($3)
    WHEN 'conversation' THEN $3 IN (c.external_id, c.conversation_id::text)
    WHEN 'subject' THEN to_tsvector('english', b.body) @@ plainto_tsquery('english', $3)
  END, false) AS forgotten
  FROM procedures p CROSS JOIN unnest(p.learnt_in) source (message_id)
  LEFT JOIN inbound_messages i ON i.message_id = source.message_id AND i.employee_id = $1
  LEFT JOIN message_bodies b ON b.message_id = i.message_id LEFT JOIN conversations c ON c.conversation_id = i.conversation_id
  WHERE p.employee_id = $1
), matched AS MATERIALIZED (
  SELECT procedure_id, array_agg(message_id) FILTER (WHERE NOT forgotten) AS rest FROM told
  GROUP BY procedure_id HAVING bool_or(forgotten)
), worded AS MATERIALIZED (
  SELECT procedure_id, to_tsvector('english', concat_ws(' ', trigger, steps::text, array_to_string(words, ' '))) AS words
  FROM procedures WHERE employee_id = $1
), weakened AS (
  UPDATE procedures p SET learnt_in = rest FROM matched WHERE p.procedure_id = matched.procedure_id AND rest IS NOT NULL
)
DELETE FROM procedures p USING worded WHERE p.procedure_id = worded.procedure_id AND (CASE $2
  WHEN 'memory_id' THEN p.procedure_id::text = $3
  WHEN 'person' THEN worded.words @@ phraseto_tsquery('english', $3)
  WHEN 'subject' THEN worded.words @@ plainto_tsquery('english', $3)
  ELSE false
END OR EXISTS (SELECT FROM matched WHERE matched.procedure_id = p.procedure_id AND rest IS NULL))
RETURNING p.procedure_id AS memory_id;

-- name: forget_notes
-- Removes what an employee has noted for now, by the same measure; which.
DELETE FROM working_notes n USING inbound_messages i, conversations c
WHERE n.employee_id = $1 AND i.message_id = n.message_id AND c.conversation_id = i.conversation_id AND CASE $2
  WHEN 'memory_id' THEN n.note_id::text = $3
  WHEN 'person' THEN lower(i.sender) = lower($3) OR to_tsvector('english', n.content) @@ phraseto_tsquery('english', $3)
  WHEN 'conversation' THEN $3 IN (c.external_id, c.conversation_id::text)
  WHEN 'subject' THEN to_tsvector('english', n.content) @@ plainto_tsquery('english', $3)
END
RETURNING n.note_id AS memory_id;

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

-- name: moment
-- A time of which holds: what had ended by then is changed no more, not even by a transaction that was under way.
SELECT now() - interval '1 minute';

-- name: messages_about
-- Messages that count by the same measure, with what they were answered; only those that had not ended by $4, if it is given,
-- or what they were answered had not.
SELECT i.message_id FROM inbound_messages i JOIN conversations c USING (conversation_id) JOIN message_bodies b USING (message_id)
CROSS JOIN LATERAL (
  SELECT to_tsvector('english', left(concat_ws(' ', b.body, string_agg(o.body, ' ')), 200000)) AS words
  FROM outbox o WHERE o.message_id = i.message_id
) said
WHERE i.employee_id = $1 AND NOT i.forgotten
AND ($4::timestamptz IS NULL OR coalesce(i.ended_at, 'infinity') > $4
  OR EXISTS (SELECT FROM outbox o WHERE o.message_id = i.message_id AND coalesce(o.ended_at, 'infinity') > $4))
AND CASE $2
  WHEN 'person' THEN lower(i.sender) = lower($3) OR said.words @@ phraseto_tsquery('english', $3)
  WHEN 'conversation' THEN $3 IN (c.external_id, c.conversation_id::text)
  WHEN 'subject' THEN said.words @@ plainto_tsquery('english', $3)
  ELSE false
END;

-- name: events_about
-- What happened and has words by the same measure; only since $4, if it is given.
SELECT event_id FROM employee_events WHERE employee_id = $1 AND kind = 'message_handled' AND ($4::timestamptz IS NULL OR occurred_at > $4)
  AND to_tsvector('english', concat_ws(' ', payload ->> 'asked', payload ->> 'answered')) @@ CASE $2
    WHEN 'person' THEN phraseto_tsquery('english', $3) WHEN 'subject' THEN plainto_tsquery('english', $3) END;

-- name: cycles_about
-- Cycles whose records have words by the same measure; only those that had not ended by $4, if it is given.
SELECT cycle_id FROM cycles WHERE employee_id = $1 AND ($4::timestamptz IS NULL OR coalesce(finished_at, 'infinity') > $4)
  AND to_tsvector('english', coalesce(intention, '{}')) || to_tsvector('english', error) @@ CASE $2
    WHEN 'person' THEN phraseto_tsquery('english', $3) WHEN 'subject' THEN plainto_tsquery('english', $3) END;

-- name: forget_messages
-- Has these messages be shown to the employee no more, with what they were answered; of which conversations. They stay on record.
WITH held AS MATERIALIZED (
  SELECT message_id FROM inbound_messages WHERE message_id = ANY ($1::uuid[]) AND NOT forgotten ORDER BY message_id FOR NO KEY UPDATE
)
UPDATE inbound_messages i SET forgotten = true FROM held WHERE i.message_id = held.message_id RETURNING i.conversation_id;

-- name: change_conversations
-- Has these conversations not be shown as they were kept warm. They are locked last: who begins a step of a plan locks that first.
UPDATE conversations c SET context_version = context_version + 1
FROM (SELECT conversation_id FROM conversations WHERE conversation_id = ANY ($1::uuid[]) ORDER BY conversation_id FOR NO KEY UPDATE) held
WHERE c.conversation_id = held.conversation_id;

-- name: forget_contexts
-- Takes what was found for messages whose work is not over from what that work is told when it goes on: each list with an entry that
-- has these words, is by the person $3, has one of the ids $4, or is from a forgotten message; and all turns of the conversations $5.
-- A worker that has failed may be told to go on.
WITH live AS (
  SELECT message_id, conversation_id FROM inbound_messages WHERE employee_id = $1 AND ended_at IS NULL
  UNION
  SELECT w.message_id, m.conversation_id FROM message_workers w JOIN inbound_messages m USING (message_id)
  WHERE w.employee_id = $1 AND w.state IN ('running', 'waiting_for_input', 'failed')
), told AS MATERIALIZED (
  SELECT a.unit_id, a.step, a.attempt, jsonb_object_agg(list.key, '[]'::jsonb) AS emptied
  FROM live JOIN step_attempts a ON a.message_id = live.message_id AND a.employee_id = $1
  CROSS JOIN LATERAL jsonb_each(a.output) list
  WHERE a.step IN ('context_retrieval', 'classification') AND jsonb_typeof(a.output) = 'object'
    AND list.key IN ('turns', 'memories', 'interrupted', 'notes', 'procedures') AND (
      list.key = 'turns' AND live.conversation_id = ANY ($5::uuid[])
      OR jsonb_typeof(list.value) = 'array' AND EXISTS (
        SELECT FROM jsonb_array_elements(list.value) entry
        WHERE to_tsvector('english', entry) @@ $2::text::tsquery OR lower(entry ->> 'sender') = lower($3)
          OR coalesce(entry ->> 'memory_id', entry ->> 'note_id', entry ->> 'procedure_id') = ANY ($4::text[])
          OR substr(entry ->> 'source', 9) IN (SELECT message_id::text FROM inbound_messages WHERE employee_id = $1 AND forgotten)
          OR entry ->> 'kind' = 'belief' AND $6))
  GROUP BY a.unit_id, a.step, a.attempt
)
UPDATE step_attempts a SET output = a.output || told.emptied FROM told
WHERE a.employee_id = $1 AND a.unit_id = told.unit_id AND a.step = told.step AND a.attempt = told.attempt;

-- name: forget_events
-- Removes these events, and those of a forgotten message or of the person $2, whether a cycle has dealt with them or not.
DELETE FROM employee_events WHERE employee_id = $1 AND kind = 'message_handled' AND (
  event_id = ANY ($3::bigint[]) OR lower(payload ->> 'sender') = lower($2)
  OR payload ->> 'message_id' IN (SELECT message_id::text FROM inbound_messages WHERE employee_id = $1 AND forgotten));

-- name: blank_cycles
-- Has the records of these cycles, and those that name a forgotten message or one of the sources $4, say $3 instead.
UPDATE cycles SET intention = jsonb_build_object('forgotten', jsonb_build_array($3::text)), error = CASE WHEN error = '' THEN '' ELSE $3 END
WHERE employee_id = $1 AND (
  cycle_id = ANY ($2::uuid[])
  OR 'consolidation:' || cycle_id = ANY ($4::text[])
  OR EXISTS (SELECT FROM regexp_matches(intention::text, '"message:([^"]+)"', 'g') named (parts)
    WHERE 'message:' || parts[1] = ANY ($4::text[])
      OR parts[1] IN (SELECT message_id::text FROM inbound_messages WHERE employee_id = $1 AND forgotten)));

-- name: words_of
-- What a text is asked for, by the same measure; NULL where that is not about words.
SELECT CASE $1::text WHEN 'person' THEN phraseto_tsquery('english', $2) WHEN 'subject' THEN plainto_tsquery('english', $2) END::text;

-- name: blank_goals
-- Has goals that have these words say $3 instead, if they have ended; of one that is worked on, or that the profile names, why it
-- stands as it does. Those whose own words stay.
WITH told AS (
  SELECT goal_id, text, state = 'active' OR origin = 'profile' AS stays FROM goals
  WHERE employee_id = $1 AND to_tsvector('english', concat_ws(' ', text, reason, subject, predicate)) @@ $2::text::tsquery
), changes AS (
  UPDATE goal_changes c SET reason = $3 FROM told WHERE c.goal_id = told.goal_id AND c.reason <> ''
), blanked AS (
  UPDATE goals g SET reason = CASE WHEN reason = '' THEN '' ELSE $3 END, text = CASE WHEN stays THEN g.text ELSE $3 END,
    subject = CASE WHEN stays THEN subject END, predicate = CASE WHEN stays THEN predicate END,
    start = CASE WHEN stays THEN start END, target = CASE WHEN stays THEN target END
  FROM told WHERE g.goal_id = told.goal_id
  RETURNING g.goal_id, stays, to_tsvector('english', concat_ws(' ', g.text, subject, predicate)) AS words, state, origin
)
SELECT goal_id, state, origin FROM blanked WHERE stays AND words @@ $2::text::tsquery ORDER BY goal_id;

-- name: blank_changes
-- Does so with the reasons of other changes of goals.
UPDATE goal_changes SET reason = $3 WHERE employee_id = $1 AND to_tsvector('english', reason) @@ $2::text::tsquery;

-- name: plans_about
-- Plans that have these words, or whose steps have, or were worked on in a message that is forgotten.
SELECT i.intention_id FROM intentions i CROSS JOIN LATERAL (
  SELECT string_agg(concat_ws(' ', s.name, s.instruction, s.outcome), ' ') AS text, bool_or(m.forgotten) AS forgotten
  FROM intention_steps s LEFT JOIN inbound_messages m USING (message_id) WHERE s.intention_id = i.intention_id
) steps
WHERE i.employee_id = $1 AND (steps.forgotten
  OR to_tsvector('english', concat_ws(' ', i.title, i.why, i.reason, steps.text)) @@ $2::text::tsquery);

-- name: give_up_plans
-- Ends those of these plans that have not ended; how many.
WITH ended AS (
  UPDATE intentions SET state = 'abandoned', reason = $2, ended_at = now()
  WHERE intention_id = ANY ($1::uuid[]) AND ended_at IS NULL RETURNING intention_id
), skipped AS (
  UPDATE intention_steps s SET state = 'skipped', ended_at = now() FROM ended
  WHERE s.intention_id = ended.intention_id AND s.state IN ('planned', 'ready')
)
SELECT count(*)::int FROM ended;

-- name: blank_plans
-- Has plans say $2 instead.
UPDATE intentions SET title = $2, why = CASE WHEN why = '' THEN '' ELSE $2 END, reason = CASE WHEN reason = '' THEN '' ELSE $2 END
WHERE intention_id = ANY ($1::uuid[]);

-- name: blank_steps
-- Does so with their steps.
UPDATE intention_steps SET name = $2, instruction = $2, outcome = CASE WHEN outcome = '' THEN '' ELSE $2 END
WHERE intention_id = ANY ($1::uuid[]);

-- name: blank_planning
-- Does so with why there has to be a plan; there has to be one where ($4) some were given up. No plan is kept that was begun before.
INSERT INTO planning (employee_id, tenant_id, wanted, forgets)
SELECT employee_id, tenant_id, CASE WHEN $4 THEN $3 ELSE '' END, 1 FROM employees WHERE employee_id = $1
ON CONFLICT (employee_id) DO UPDATE SET forgets = planning.forgets + 1,
  wanted = CASE WHEN $4 OR to_tsvector('english', planning.wanted) @@ $2::text::tsquery THEN $3 ELSE planning.wanted END;

-- name: profile_says
-- Whether the profile has these words.
SELECT to_tsvector('english', profile) @@ $2::text::tsquery FROM employees WHERE employee_id = $1;

-- name: blank_schedules
-- Does so with schedules that have ended. Those that have not, and have these words.
WITH told AS (
  SELECT schedule_id, name, state FROM schedules
  WHERE employee_id = $1 AND to_tsvector('english', concat_ws(' ', name, instruction)) @@ $2::text::tsquery
), blanked AS (
  UPDATE schedules s SET name = $3, instruction = $3 FROM told WHERE s.schedule_id = told.schedule_id AND s.state = 'ended'
)
SELECT schedule_id, state FROM told WHERE state <> 'ended' ORDER BY schedule_id;

-- name: hold_beliefs
-- Waits for a cycle that changes beliefs, so that the statements from here on see its changes.
SELECT FROM beliefs WHERE employee_id = $1 ORDER BY belief_id FOR UPDATE;

-- name: sender_of
-- Who wrote a message of the employee.
SELECT sender FROM inbound_messages WHERE message_id = $1 AND employee_id = $2;
