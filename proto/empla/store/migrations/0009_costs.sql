-- NULL: of a model without a price.
ALTER TABLE step_attempts ALTER COLUMN cost_micros DROP NOT NULL;
UPDATE step_attempts SET cost_micros = NULL WHERE tokens_in + tokens_out > 0 AND cost_micros = 0;
