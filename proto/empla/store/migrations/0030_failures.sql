-- How employees last ended without being asked, and when they are started again: whichever control plane leads goes on by it.

CREATE TABLE employee_failures (
  employee_id uuid PRIMARY KEY,
  tenant_id   uuid NOT NULL,
  restarts    integer NOT NULL,        -- ends that nobody asked for, ever
  failures    integer NOT NULL,        -- such ends and failed launches in a row; 0: it is well, or an operator has started it since
  own         integer NOT NULL,        -- those of them that are of its own making
  reason      text NOT NULL,           -- of the last one
  ended_at    timestamptz NOT NULL,
  next_at     timestamptz NOT NULL,    -- when it may be started again
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id) ON DELETE CASCADE
);
ALTER TABLE employee_failures ENABLE ROW LEVEL SECURITY;

-- By how many seconds its clock is ahead of the database's.
ALTER TABLE control_planes ADD COLUMN skew double precision NOT NULL DEFAULT 0;
