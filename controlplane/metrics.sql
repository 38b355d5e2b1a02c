-- name: attempts_between
-- What all attempts came to that ended between two moments, by step, outcome and how many of some durations each reached.
SELECT stage, step, outcome, width_bucket(duration_ms / 1000, $3::float8[]) AS reached, count(*) AS attempts,
  sum(duration_ms) / 1000 AS seconds, sum(tokens_in) AS tokens_in, sum(tokens_out) AS tokens_out,
  coalesce(sum(cost_micros), 0)::float8 / 1e6 AS dollars
FROM step_attempts WHERE finished_at > $1 AND finished_at <= $2 GROUP BY stage, step, outcome, reached;
