-- name: spent
-- What ended after $1 and until $2 has cost, by employee and day; of that, what the proactive loop thought. A cycle lasts no day.
SELECT employee_id, (finished_at AT TIME ZONE 'UTC')::date AS day, sum(cost_micros)::bigint AS micros, 0 AS idle_micros
FROM step_attempts WHERE finished_at > $1 AND finished_at <= $2 AND cost_micros > 0 GROUP BY employee_id, day
UNION ALL
SELECT employee_id, (finished_at AT TIME ZONE 'UTC')::date AS day, sum(cost_micros)::bigint, sum(cost_micros)::bigint
FROM cycles WHERE started_at > $1::timestamptz - interval '1 day' AND finished_at > $1 AND finished_at <= $2 AND cost_micros > 0
GROUP BY employee_id, day;
