-- Which runs of a schedule have not ended is found from the live messages.
CREATE INDEX schedule_runs_by_message ON schedule_runs (message_id) WHERE message_id IS NOT NULL;
