-- The sidecars that run or are about to: a row is there from before a token is handed out until the process is gone for certain.
-- `key` signs a sidecar's tokens (see empla.leases); no employee may read it.

CREATE TABLE sidecars (
  sidecar_id       uuid PRIMARY KEY,
  tenant_id        uuid NOT NULL,
  employee_id      uuid NOT NULL,
  epoch            bigint NOT NULL,  -- the launch of the employee that it works for
  kind             text NOT NULL CHECK (kind IN ('compute', 'browser')),
  state            text NOT NULL CHECK (state IN ('ready', 'leased')), -- ready: kept warm for the employee
  launcher         text NOT NULL,
  process          jsonb NOT NULL,   -- how the launcher recognises it
  address          text NOT NULL,
  key              bytea NOT NULL CHECK (length(key) = 32),
  memory_bytes     bigint NOT NULL,
  cpus             real NOT NULL,
  idle_ttl_seconds integer NOT NULL,
  created_at       timestamptz NOT NULL DEFAULT now(),
  expires_at       timestamptz NOT NULL,
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
);
CREATE INDEX sidecars_by_employee ON sidecars (employee_id);
ALTER TABLE sidecars ENABLE ROW LEVEL SECURITY;
