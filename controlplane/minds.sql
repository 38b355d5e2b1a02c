-- name: cycles_of
-- The cycles of an employee before a given one, newest first, with the kinds of the events that each perceived.
SELECT c.cycle_id, c.epoch, c.phase, c.outcome, c.error, c.intention, c.started_at, c.finished_at,
  c.model, c.tokens_in, c.tokens_out, c.cost_micros,
  ARRAY(
    SELECT e.kind FROM jsonb_array_elements_text(c.perceived) WITH ORDINALITY AS seen (event_id, place)
    JOIN employee_events e ON e.employee_id = c.employee_id AND e.event_id = seen.event_id::bigint ORDER BY place
  ) AS perceived
FROM cycles c
WHERE c.employee_id = $1 AND ($2::uuid IS NULL OR (c.started_at, c.cycle_id) <
  (SELECT started_at, cycle_id FROM cycles WHERE cycle_id = $2 AND employee_id = $1))
ORDER BY c.started_at DESC, c.cycle_id DESC LIMIT $3;

-- name: beliefs_of
-- The beliefs of an employee about what comes after a subject and predicate, by these, each with its last changes.
SELECT b.belief_id, b.subject_key, b.predicate_key, b.subject, b.predicate, b.object, b.confidence, b.importance, b.promoted,
  b.supported_at, now() AS now,
  ARRAY(
    SELECT to_jsonb(c) FROM (
      SELECT change, object, confidence, why, source, occurred_at FROM belief_changes
      WHERE employee_id = b.employee_id AND belief_id = b.belief_id ORDER BY change_id DESC LIMIT 10
    ) c
  ) AS changes
FROM beliefs b WHERE b.employee_id = $1 AND (b.subject_key, b.predicate_key) > ($2, $3)
ORDER BY b.subject_key, b.predicate_key LIMIT $4;
