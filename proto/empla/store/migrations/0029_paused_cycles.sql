-- A cycle that a pause ends has not failed.

ALTER TABLE cycles DROP CONSTRAINT cycles_outcome_check, ADD CONSTRAINT cycles_outcome_check
  CHECK (outcome IN ('', 'acted', 'nothing_to_do', 'paused', 'failed', 'lost'));
