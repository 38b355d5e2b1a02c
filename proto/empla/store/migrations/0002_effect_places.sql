-- Where an action worked: one object for each place, with `place` (local, sidecar <id>), `waited_ms` for it to be there,
-- `used_ms`, and the `memory_bytes` that were at hand there. Beside the result, which is what a model reads.
ALTER TABLE effects ADD COLUMN places jsonb NOT NULL DEFAULT '[]';
GRANT UPDATE (places) ON effects TO empla_employee;
