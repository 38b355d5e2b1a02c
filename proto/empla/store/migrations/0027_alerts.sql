-- Alerts: what needs somebody's attention, from when it was seen first until it is over, and each word of it that goes out.
--
-- A row begins when something is seen. It fires once that has lasted, and is cleared once it has been gone as long: what flickers
-- fires nothing, and one that has fired is one alert until it is cleared. What never fired is deleted when it is gone.

CREATE TABLE alerts (
  alert_id    uuid PRIMARY KEY,
  kind        text NOT NULL CHECK (kind ~ '^[a-z_]{1,40}$'),
  tenant_id   uuid REFERENCES tenants, -- NULL: of the control plane itself
  employee_id uuid,
  detail      text NOT NULL CHECK (length(detail) <= 1000),
  since       timestamptz NOT NULL DEFAULT now(),
  fired_at    timestamptz,
  gone_since  timestamptz,             -- NULL: it is still seen
  cleared_at  timestamptz,
  CHECK (cleared_at IS NULL OR (fired_at IS NOT NULL AND gone_since IS NOT NULL)),
  CHECK ((tenant_id IS NULL) = (employee_id IS NULL)),
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
);
-- Whichever control plane sees something, it is one row as long as it is open.
CREATE UNIQUE INDEX alerts_open ON alerts (kind, employee_id) NULLS NOT DISTINCT WHERE cleared_at IS NULL;
CREATE INDEX alerts_by_age ON alerts (fired_at DESC) WHERE fired_at IS NOT NULL;

-- `next_at` is also for how long a try has the row to itself: whoever dies in one leaves it to the next.
CREATE TABLE alert_notices (
  notice_id    uuid PRIMARY KEY,
  alert_id     uuid NOT NULL REFERENCES alerts ON DELETE CASCADE,
  tenant_id    uuid,
  event        text NOT NULL CHECK (event IN ('fired', 'cleared')),
  target       text NOT NULL CHECK (target IN ('webhook', 'slack')),
  attempt      integer NOT NULL DEFAULT 0,
  created_at   timestamptz NOT NULL DEFAULT now(),
  next_at      timestamptz NOT NULL DEFAULT now(),
  delivered_at timestamptz,
  UNIQUE (alert_id, event, target)
);
CREATE INDEX alert_notices_due ON alert_notices (next_at) WHERE delivered_at IS NULL;

ALTER TABLE alerts ENABLE ROW LEVEL SECURITY;
ALTER TABLE alert_notices ENABLE ROW LEVEL SECURITY;

-- When the process of this launch first attached.
ALTER TABLE employee_epochs ADD COLUMN attached_at timestamptz;
UPDATE employee_epochs SET attached_at = launched_at; -- of these launches nobody knows how long they took
