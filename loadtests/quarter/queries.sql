-- name: unsettled
-- How much is still to be done that no time need pass for.
SELECT (SELECT count(*) FROM inbound_messages WHERE processing_state NOT IN ('answered', 'collected', 'withheld', 'failed', 'waiting'))
  + (SELECT count(*) FROM outbox WHERE state IN ('queued', 'sending'))
  + (SELECT count(*) FROM employee_events WHERE cycle_id IS NULL)
  + (SELECT count(*) FROM cycles WHERE phase <> 'done')
  + (SELECT count(*) FROM schedules WHERE next_at <= now())
  + (SELECT count(*) FROM intentions WHERE ended_at IS NULL)
  + (SELECT count(*) FROM intention_steps WHERE state IN ('ready', 'running'));

-- name: waiting_for_a_person
-- What somebody is asked to decide about.
SELECT review_id::text FROM reviews WHERE state = 'open';

-- name: next_run
-- When the next schedule is due.
SELECT min(next_at) FROM schedules WHERE state = 'active';

-- name: look
-- The clock was set: whoever waits for a schedule looks again, as it does every half minute anyway.
NOTIFY empla_schedules;

-- name: runs
-- Every run of every schedule, as it was noted.
SELECT e.name AS employee, s.instruction, s.of_profile, r.due_at, r.state, r.reason, o.body AS answer
FROM schedule_runs r JOIN schedules s USING (schedule_id) JOIN employees e ON e.employee_id = r.employee_id
LEFT JOIN outbox o ON o.message_id = r.message_id AND o.state = 'sent' ORDER BY r.due_at;

-- name: not_answered_once
-- Messages that have no reply, or several, or that ended otherwise.
SELECT e.name AS employee, b.body, m.processing_state, m.reason, count(o.outbox_id) AS replies
FROM inbound_messages m JOIN employees e USING (employee_id) JOIN message_bodies b USING (message_id)
JOIN channels c ON c.channel_id = m.channel_id AND c.kind <> 'own'
LEFT JOIN outbox o ON o.message_id = m.message_id AND o.state = 'sent'
GROUP BY e.name, b.body, m.message_id HAVING m.processing_state <> 'answered' OR count(o.outbox_id) <> 1;

-- name: messages
-- How many messages there are.
SELECT count(*) FROM inbound_messages;

-- name: dropped
-- What was believed no longer, and when.
SELECT e.name AS employee, c.subject, c.object, c.occurred_at
FROM belief_changes c JOIN employees e USING (employee_id) WHERE c.change = 'dropped';

-- name: tables
-- Every table.
SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE';

-- name: size
-- Bytes of the database.
SELECT pg_database_size(current_database());

-- name: pace
-- A little work and a durable commit, the same each time, to tell how fast the machine is just now.
SELECT sum(length(md5(n::text))), pg_logical_emit_message(true, 'pace', '') FROM generate_series(1, 2000) n;

-- name: told_how
-- With how many messages an employee was told how such work is done.
SELECT count(*) FROM step_attempts a JOIN employees e USING (employee_id)
WHERE e.name = $1 AND a.step = 'context_retrieval' AND jsonb_array_length(a.output -> 'procedures') > 0;

-- name: goals
-- How far the goals of an employee are, and how the plans for each ended.
SELECT g.text, g.state, g.progress, g.reason, g.ended_at,
  ARRAY(SELECT i.state FROM intentions i WHERE i.goal_id = g.goal_id ORDER BY i.created_at) AS plans
FROM goals g JOIN employees e USING (employee_id) WHERE e.name = $1;
