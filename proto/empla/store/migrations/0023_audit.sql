-- The audit log names the token that was used, for names are chosen freely; and of the tokens of one tenant that hold no two
-- have the same name.

ALTER TABLE audit_log ADD COLUMN token_id uuid; -- refers to no row, so that the log outlives what it tells of

CREATE UNIQUE INDEX operator_tokens_by_name ON operator_tokens (tenant_id, name) NULLS NOT DISTINCT WHERE revoked_at IS NULL;
