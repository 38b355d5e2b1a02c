-- name: drain
-- Somebody wants the present launch ended, if it has not: it is to finish within so many seconds. Its epoch.
UPDATE employee_epochs SET draining = $2 WHERE employee_id = $1 AND launched_at IS NOT NULL AND ended_at IS NULL
RETURNING epoch;

-- name: draining
-- Within how many seconds a launch is to finish; nothing: nobody wants that.
SELECT draining FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 AND draining IS NOT NULL;

-- name: goes_on
-- Whether a launch has not ended.
SELECT FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 AND ended_at IS NULL;
