-- Rows come in the order of their time: what ended of late is found in a few pages, and writing it costs next to nothing.
CREATE INDEX step_attempts_by_time ON step_attempts USING brin (finished_at) WITH (pages_per_range = 16, autosummarize = on);
