-- What keeps tables from growing without bound: see controlplane/retention.sql and controlplane/firing.sql.

-- Which runs of a schedule have not ended is found from the live messages.
CREATE INDEX schedule_runs_by_message ON schedule_runs (message_id) WHERE message_id IS NOT NULL;

-- What is old is found by its time. Rows come in the order of it, so ranges of pages are enough, which cost an insert nothing.
CREATE INDEX cycles_by_age ON cycles USING brin (started_at);
CREATE INDEX employee_events_by_age ON employee_events USING brin (occurred_at);
CREATE INDEX belief_changes_by_age ON belief_changes USING brin (occurred_at);
CREATE INDEX schedule_runs_by_age ON schedule_runs USING brin (fired_at);
