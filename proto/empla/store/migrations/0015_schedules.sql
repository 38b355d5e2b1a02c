-- Schedules: what is to be done at a later time, or again and again.
--
-- A run is an inbound message of the schedule's conversation and sender, which the control plane stores in the transaction that
-- notes the run and sets the next one. An employee makes and ends schedules of its own, for people who ask it to.

CREATE TABLE schedules (
  schedule_id     uuid PRIMARY KEY,
  tenant_id       uuid NOT NULL,
  employee_id     uuid NOT NULL,
  conversation_id uuid NOT NULL REFERENCES conversations,
  sender          text NOT NULL CHECK (length(sender) BETWEEN 1 AND 500), -- who wants it, and is answered
  asked_in        uuid,          -- the message that asked for it; NULL: an operator made it
  name            text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  kind            text NOT NULL CHECK (kind IN ('at', 'every', 'cron')),
  expression      text NOT NULL CHECK (length(expression) BETWEEN 1 AND 200), -- see empla/schedules.py
  time_zone       text NOT NULL DEFAULT 'UTC' CHECK (length(time_zone) BETWEEN 1 AND 100),
  anchor          timestamptz NOT NULL,  -- what `every` counts from
  instruction     text NOT NULL CHECK (length(instruction) BETWEEN 1 AND 4000),
  catch_up        text NOT NULL DEFAULT 'latest' CHECK (catch_up IN ('latest', 'all', 'none')), -- of the runs that were missed
  state           text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'ended')),
  reason          text NOT NULL DEFAULT '' CHECK (length(reason) <= 1000), -- why it ended
  next_at         timestamptz,
  created_at      timestamptz NOT NULL DEFAULT now(),
  ended_at        timestamptz,
  CHECK ((state = 'active') = (next_at IS NOT NULL)),
  CHECK ((state = 'ended') = (ended_at IS NOT NULL)),
  CHECK (next_at >= created_at - interval '1 hour'), -- whoever writes the row, few runs are missed from the start
  FOREIGN KEY (asked_in, employee_id, tenant_id) REFERENCES inbound_messages (message_id, employee_id, tenant_id),
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
);
CREATE UNIQUE INDEX schedules_by_name ON schedules (employee_id, name) WHERE state <> 'ended';
CREATE INDEX schedules_due ON schedules (next_at) WHERE state = 'active';

-- Each run that was due, once.
CREATE TABLE schedule_runs (
  schedule_id uuid NOT NULL REFERENCES schedules,
  due_at      timestamptz NOT NULL,
  tenant_id   uuid NOT NULL,
  employee_id uuid NOT NULL,
  state       text NOT NULL CHECK (state IN ('fired', 'missed')),
  message_id  uuid,
  reason      text NOT NULL DEFAULT '',  -- why it was missed
  fired_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (schedule_id, due_at),
  CHECK ((state = 'fired') = (message_id IS NOT NULL)),
  FOREIGN KEY (message_id, employee_id, tenant_id) REFERENCES inbound_messages (message_id, employee_id, tenant_id)
);

ALTER TABLE state_edges DROP CONSTRAINT state_edges_machine_check, ADD CONSTRAINT state_edges_machine_check
  CHECK (machine IN ('message', 'worker', 'outbox', 'review', 'schedule'));
INSERT INTO state_edges VALUES
  ('schedule', 'active', '', 'paused', '', 'controlplane'),
  ('schedule', 'paused', '', 'active', '', 'controlplane'),
  ('schedule', 'active', '', 'ended',  '', 'controlplane'),
  ('schedule', 'paused', '', 'ended',  '', 'controlplane'),
  ('schedule', 'active', '', 'ended',  '', 'employee'),
  ('schedule', 'paused', '', 'ended',  '', 'employee');
CREATE TRIGGER legal_edge BEFORE UPDATE OF state ON schedules FOR EACH ROW
  WHEN (NOT is_legal_edge('schedule', OLD.state, '', NEW.state, '')) EXECUTE FUNCTION refuse_edge('schedule');

-- An employee may say that a schedule ends, and nothing else of it.
CREATE FUNCTION end_schedule() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.next_at := NULL;
  NEW.ended_at := now();
  RETURN NEW;
END $$;
CREATE TRIGGER schedule_ends BEFORE UPDATE OF state ON schedules FOR EACH ROW
  WHEN (OLD.state <> 'ended' AND NEW.state = 'ended') EXECUTE FUNCTION end_schedule();

-- The lock is one that writes of the employee's other work do not wait for: two that make schedules at once are counted one
-- after the other.
CREATE FUNCTION bound_schedules() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM public.employee_epochs WHERE employee_id = NEW.employee_id FOR NO KEY UPDATE;
  IF (SELECT count(*) FROM public.schedules WHERE employee_id = NEW.employee_id AND state <> 'ended') >= 100 THEN
    RAISE EXCEPTION 'an employee has 100 schedules at most' USING ERRCODE = 'EM003';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER bounded BEFORE INSERT ON schedules FOR EACH ROW EXECUTE FUNCTION bound_schedules();

-- Whoever waits for the next run looks again. Firing sets next_at alone, and tells nobody.
CREATE FUNCTION tell_of_schedules() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NOTIFY empla_schedules;
  RETURN NULL;
END $$;
CREATE TRIGGER told AFTER INSERT OR UPDATE OF state ON schedules FOR EACH STATEMENT EXECUTE FUNCTION tell_of_schedules();

ALTER TABLE schedules ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON schedules TO empla_employee USING (employee_id = current_employee());
-- Who is answered, and where, is who asked for it in a message, and where; and a run makes no schedules.
CREATE POLICY as_asked ON schedules AS RESTRICTIVE FOR INSERT TO empla_employee WITH CHECK (EXISTS (
  SELECT FROM inbound_messages m WHERE m.message_id = schedules.asked_in AND m.conversation_id = schedules.conversation_id
    AND m.sender = schedules.sender AND NOT starts_with(m.event_id, 'schedule:')
));
ALTER TABLE schedule_runs ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON schedules TO empla_employee;
GRANT INSERT (schedule_id, tenant_id, employee_id, conversation_id, sender, asked_in, name, kind, expression, time_zone, anchor,
  instruction, catch_up, next_at) ON schedules TO empla_employee;
GRANT UPDATE (state, reason) ON schedules TO empla_employee;
