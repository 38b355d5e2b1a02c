-- name: cycles_of
-- The cycles of an employee before a given one, newest first, with the kinds of the events that each perceived.
SELECT c.cycle_id, c.epoch, c.phase, c.outcome, c.error, c.intention, c.started_at, c.finished_at,
  ARRAY(
    SELECT e.kind FROM jsonb_array_elements_text(c.perceived) WITH ORDINALITY AS seen (event_id, place)
    JOIN employee_events e ON e.employee_id = c.employee_id AND e.event_id = seen.event_id::bigint ORDER BY place
  ) AS perceived
FROM cycles c
WHERE c.employee_id = $1 AND ($2::uuid IS NULL OR (c.started_at, c.cycle_id) <
  (SELECT started_at, cycle_id FROM cycles WHERE cycle_id = $2 AND employee_id = $1))
ORDER BY c.started_at DESC, c.cycle_id DESC LIMIT $3;
