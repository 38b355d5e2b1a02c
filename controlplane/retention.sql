-- name: cycles
-- Removes closed cycles that began so many days ago; of a deleted employee the open ones too.
WITH old AS (
  SELECT c.cycle_id FROM cycles c JOIN employees e USING (employee_id)
  WHERE c.started_at < now() - make_interval(days => $1) AND (c.phase = 'done' OR e.deleted_at IS NOT NULL) LIMIT $2
), gone AS (
  DELETE FROM cycles USING old WHERE cycles.cycle_id = old.cycle_id RETURNING 1
)
SELECT count(*) FROM gone;

-- name: employee_events
-- Removes events that are as old and dealt with, once the cycle that did so is gone; of a deleted employee the others too.
WITH old AS (
  SELECT v.event_id FROM employee_events v JOIN employees e USING (employee_id)
  WHERE v.occurred_at < now() - make_interval(days => $1) AND (e.deleted_at IS NOT NULL
    OR v.cycle_id IS NOT NULL AND NOT EXISTS (SELECT FROM cycles c WHERE c.cycle_id = v.cycle_id)) LIMIT $2
), gone AS (
  DELETE FROM employee_events USING old WHERE employee_events.event_id = old.event_id RETURNING 1
)
SELECT count(*) FROM gone;

-- name: belief_changes
-- Removes changes that are as old, of beliefs that are held no more: those of the others say by whom and why it is believed, and what
-- to forget. They also tell which events have been read: they stay while the employee has events as old to deal with.
WITH old AS (
  SELECT c.change_id FROM belief_changes c
  WHERE c.occurred_at < now() - make_interval(days => $1)
    AND NOT EXISTS (SELECT FROM beliefs b WHERE b.belief_id = c.belief_id)
    AND NOT EXISTS (SELECT FROM employee_events v WHERE v.employee_id = c.employee_id AND v.cycle_id IS NULL
      AND v.occurred_at < now() - make_interval(days => $1)) LIMIT $2
), gone AS (
  DELETE FROM belief_changes USING old WHERE belief_changes.change_id = old.change_id RETURNING 1
)
SELECT count(*) FROM gone;

-- name: schedule_runs
-- Removes runs that are as old and of which nothing goes on; of a schedule that has not ended the last one that was done stays.
WITH old AS (
  SELECT r.schedule_id, r.due_at FROM schedule_runs r JOIN schedules s USING (schedule_id)
  WHERE r.fired_at < now() - make_interval(days => $1)
    AND (r.state = 'missed' OR s.state = 'ended' OR EXISTS (
      SELECT FROM schedule_runs l WHERE l.schedule_id = r.schedule_id AND l.state = 'fired' AND l.due_at > r.due_at))
    AND NOT EXISTS (SELECT FROM inbound_messages m WHERE m.message_id = r.message_id AND m.ended_at IS NULL)
    AND NOT EXISTS (SELECT FROM message_workers w WHERE w.message_id = r.message_id AND w.state IN ('running', 'waiting_for_input'))
  LIMIT $2
), gone AS (
  DELETE FROM schedule_runs r USING old WHERE r.schedule_id = old.schedule_id AND r.due_at = old.due_at RETURNING 1
)
SELECT count(*) FROM gone;

-- name: schedules
-- Removes schedules that ended so many days ago, once their runs are gone.
WITH old AS (
  SELECT s.schedule_id FROM schedules s WHERE s.ended_at < now() - make_interval(days => $1)
    AND NOT EXISTS (SELECT FROM schedule_runs r WHERE r.schedule_id = s.schedule_id) LIMIT $2
), gone AS (
  DELETE FROM schedules s USING old WHERE s.schedule_id = old.schedule_id RETURNING 1
)
SELECT count(*) FROM gone;

-- name: intentions
-- Removes plans that ended so many days ago, with their steps, once nothing of them goes on; of a goal that is worked on the last 20
-- stay. Of a deleted employee nothing goes on.
WITH old AS (
  SELECT i.intention_id FROM intentions i JOIN goals g USING (goal_id) JOIN employees e ON e.employee_id = i.employee_id
  WHERE i.ended_at < now() - make_interval(days => $1)
    AND (e.deleted_at IS NOT NULL OR NOT EXISTS (
      SELECT FROM intention_steps s WHERE s.intention_id = i.intention_id AND s.state IN ('planned', 'ready', 'running')))
    AND (g.state <> 'active' OR (SELECT count(*) FROM (
      SELECT FROM intentions l WHERE l.goal_id = i.goal_id AND (l.created_at, l.intention_id) > (i.created_at, i.intention_id)
      LIMIT 20) later) = 20)
  LIMIT $2
), steps AS (
  DELETE FROM intention_steps s USING old WHERE s.intention_id = old.intention_id
), gone AS (
  DELETE FROM intentions i USING old WHERE i.intention_id = old.intention_id RETURNING 1
)
SELECT count(*) FROM gone;

-- name: goal_changes
-- Removes changes that are as old; of a goal that has not ended for as long the last 100 stay.
WITH old AS (
  SELECT c.change_id FROM goals g CROSS JOIN LATERAL (
    SELECT change_id, occurred_at FROM goal_changes WHERE goal_id = g.goal_id ORDER BY change_id DESC
    OFFSET CASE WHEN g.ended_at < now() - make_interval(days => $1) THEN 0 ELSE 100 END
  ) c WHERE c.occurred_at < now() - make_interval(days => $1) LIMIT $2
), gone AS (
  DELETE FROM goal_changes c USING old WHERE c.change_id = old.change_id RETURNING 1
)
SELECT count(*) FROM gone;

-- name: goals
-- Removes goals that ended so many days ago, once their plans and changes are gone. Those that a profile still names stay: by them
-- it is known that they are not to be set again.
WITH old AS (
  SELECT g.goal_id FROM goals g JOIN employees e USING (employee_id) WHERE g.ended_at < now() - make_interval(days => $1)
    AND NOT EXISTS (SELECT FROM intentions i WHERE i.goal_id = g.goal_id)
    AND NOT EXISTS (SELECT FROM goal_changes c WHERE c.goal_id = g.goal_id)
    AND (g.origin <> 'profile' OR e.deleted_at IS NOT NULL OR NOT EXISTS (
      SELECT FROM jsonb_array_elements_text(e.profile -> 'goals') named WHERE strpos(named, g.text) > 0)) LIMIT $2
), gone AS (
  DELETE FROM goals g USING old WHERE g.goal_id = old.goal_id RETURNING 1
)
SELECT count(*) FROM gone;

-- name: budget_days
-- Removes what was spent on days as old.
WITH old AS (
  SELECT owner_id, day FROM budget_days WHERE day < (now() AT TIME ZONE 'UTC')::date - $1::integer LIMIT $2
), gone AS (
  DELETE FROM budget_days b USING old WHERE b.owner_id = old.owner_id AND b.day = old.day RETURNING 1
)
SELECT count(*) FROM gone;

-- name: alerts
-- Removes alerts that have been over for so many days, with what was told of them.
WITH old AS (
  SELECT alert_id FROM alerts WHERE cleared_at < now() - make_interval(days => $1) LIMIT $2
), gone AS (
  DELETE FROM alerts USING old WHERE alerts.alert_id = old.alert_id RETURNING 1
)
SELECT count(*) FROM gone;
