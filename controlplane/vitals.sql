-- name: work
-- Of each employee that has any: steps that have run or waited to be begun for too long ($1 minutes, those of the background $2) and
-- the oldest of them, messages that nobody has claimed, and open reviews. What waits for a person or behind another message of its
-- conversation is not stuck.
WITH steps AS (
  SELECT employee_id, started_at AS since FROM inbound_messages
  WHERE ended_at IS NULL AND processing_state IN ('received', 'analyzing', 'merging') AND started_at < now() - make_interval(mins => $1)
  UNION ALL
  SELECT employee_id, started_at FROM message_workers
  WHERE state = 'running' AND started_at < now() - make_interval(mins => CASE step WHEN 'background' THEN $2 ELSE $1 END)
  UNION ALL
  SELECT employee_id, received_at FROM inbound_messages m
  WHERE ended_at IS NULL AND processing_state = 'received' AND epoch IS NULL AND received_at < now() - make_interval(mins => $1)
    AND NOT EXISTS (SELECT FROM inbound_messages b WHERE b.employee_id = m.employee_id AND b.ended_at IS NULL
      AND b.conversation_id = m.conversation_id AND b.sequence < m.sequence)
), stuck AS (
  SELECT employee_id, count(*) AS stuck, extract(epoch FROM now() - min(since))::float8 AS stuck_seconds FROM steps GROUP BY employee_id
), queue AS (
  SELECT employee_id, count(*) AS queued FROM inbound_messages
  WHERE ended_at IS NULL AND processing_state = 'received' AND epoch IS NULL GROUP BY employee_id
), asked AS (
  SELECT employee_id, count(*) AS reviews FROM reviews WHERE state = 'open' GROUP BY employee_id
)
SELECT employee_id, coalesce(stuck, 0) AS stuck, coalesce(stuck_seconds, 0) AS stuck_seconds, coalesce(queued, 0) AS queued,
  coalesce(reviews, 0) AS reviews
FROM stuck FULL JOIN queue USING (employee_id) FULL JOIN asked USING (employee_id);

-- name: tried
-- The attempts of each employee that ended within $1 minutes and those of them that failed, and what could not be sent.
SELECT employee_id, count(*) FILTER (WHERE stage <> 'send') AS attempts,
  count(*) FILTER (WHERE stage <> 'send' AND outcome IN ('failed', 'lost')) AS failed,
  count(*) FILTER (WHERE stage = 'send' AND outcome = 'failed') AS unsent
FROM step_attempts WHERE finished_at > now() - make_interval(mins => $1) GROUP BY employee_id;
