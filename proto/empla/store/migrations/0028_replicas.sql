-- Several control planes of one installation: who is there, which of them leads, and where each employee is attached.

CREATE TABLE control_planes (
  instance      text PRIMARY KEY,      -- names one start of one control plane
  address       text NOT NULL,         -- where the others reach its gRPC
  home          text NOT NULL,         -- the id of its home: all have the same
  leaving       boolean NOT NULL,      -- it is about to end
  seen_at       timestamptz NOT NULL DEFAULT now(),
  backend       integer NOT NULL,      -- the server's process for its connection: without that one it is gone
  backend_start timestamptz NOT NULL
);
ALTER TABLE control_planes ENABLE ROW LEVEL SECURITY;

CREATE TABLE control_lease (
  one        boolean PRIMARY KEY DEFAULT true CHECK (one), -- there is one row
  instance   text NOT NULL,
  generation bigint NOT NULL,          -- rises whenever another instance takes the lease
  expires_at timestamptz NOT NULL
);
ALTER TABLE control_lease ENABLE ROW LEVEL SECURITY;

-- As the control plane that holds the stream says every second, while there are others to read it.
CREATE TABLE employee_presence (
  employee_id uuid PRIMARY KEY,
  tenant_id   uuid NOT NULL,
  epoch       bigint NOT NULL,
  instance    text NOT NULL,           -- the control plane that it is attached to
  build       text NOT NULL,
  heartbeat   bytea NOT NULL,          -- the last one; empty: none yet
  seen_at     timestamptz NOT NULL,    -- its last sign of life
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id) ON DELETE CASCADE
);
ALTER TABLE employee_presence ENABLE ROW LEVEL SECURITY;

-- Seconds in which the present launch is to finish, for somebody wants it ended; NULL: nobody does.
ALTER TABLE employee_epochs ADD COLUMN draining real CHECK (draining >= 0);
