-- Goals, and what an employee intends for them.
--
-- An intention is a plan of steps. A step is begun by being made ready; the control plane then stores a message to the employee
-- itself, which is worked on like any other, so that its attempts, effects, approvals and costs are kept as of any other. Replies
-- on the channel `own` leave nowhere: the employee reads what came out of its step.

ALTER TABLE channels DROP CONSTRAINT channels_kind_check, ADD CONSTRAINT channels_kind_check
  CHECK (kind IN ('api', 'webhook', 'slack', 'teams', 'google_chat', 'email', 'own'));
CREATE UNIQUE INDEX channels_own ON channels (tenant_id) WHERE kind = 'own';

CREATE TABLE goals (
  goal_id      uuid PRIMARY KEY,
  tenant_id    uuid NOT NULL,
  employee_id  uuid NOT NULL,
  text         text NOT NULL CHECK (length(text) BETWEEN 1 AND 1000), -- what is to be reached or kept, in words
  kind         text NOT NULL CHECK (kind IN ('achieve', 'maintain')),
  priority     integer NOT NULL DEFAULT 5 CHECK (priority BETWEEN 1 AND 10), -- 10 comes first
  deadline     timestamptz,
  -- A numeric goal is measured by the belief of this subject and predicate: how far its number is on the way from start to target.
  -- Without one, progress is judged by a model.
  subject      text CHECK (length(subject) BETWEEN 1 AND 200),
  predicate    text CHECK (length(predicate) BETWEEN 1 AND 200),
  start        double precision,
  target       double precision,
  origin       text NOT NULL CHECK (length(origin) BETWEEN 1 AND 500), -- `profile`, or the operator who set it
  progress     double precision NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
  assessed_at  timestamptz,
  state        text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'achieved', 'failed', 'abandoned')),
  reason       text NOT NULL DEFAULT '' CHECK (length(reason) <= 1000), -- of its progress, then why it ended
  created_at   timestamptz NOT NULL DEFAULT now(),
  ended_at     timestamptz,
  CHECK ((state = 'active') = (ended_at IS NULL)),
  CHECK (num_nulls(subject, predicate, start, target) IN (0, 4)),
  CHECK (start <> target),
  UNIQUE (goal_id, employee_id),
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
);
CREATE UNIQUE INDEX goals_once ON goals (employee_id, md5(text)) WHERE state = 'active';
CREATE INDEX goals_by_employee ON goals (employee_id, created_at);

-- How a goal came along: one row for each change of its progress or state.
CREATE TABLE goal_changes (
  change_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  goal_id     uuid NOT NULL,
  tenant_id   uuid NOT NULL,
  employee_id uuid NOT NULL,
  cycle_id    uuid,          -- NULL: an operator or the profile changed it
  state       text NOT NULL,
  progress    double precision NOT NULL,
  reason      text NOT NULL,
  occurred_at timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (goal_id, employee_id) REFERENCES goals (goal_id, employee_id),
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
);
CREATE INDEX goal_changes_by_goal ON goal_changes (goal_id, change_id DESC);

CREATE TABLE intentions (
  intention_id uuid PRIMARY KEY,
  goal_id      uuid NOT NULL,
  tenant_id    uuid NOT NULL,
  employee_id  uuid NOT NULL,
  cycle_id     uuid NOT NULL, -- that decided on it
  title        text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
  why          text NOT NULL CHECK (length(why) <= 1000),
  state        text NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'running', 'done', 'failed', 'abandoned')),
  reason       text NOT NULL DEFAULT '' CHECK (length(reason) <= 1000), -- why it failed or was abandoned
  created_at   timestamptz NOT NULL DEFAULT now(),
  ended_at     timestamptz,
  CHECK ((state IN ('planned', 'running')) = (ended_at IS NULL)),
  UNIQUE (intention_id, employee_id, tenant_id),
  FOREIGN KEY (goal_id, employee_id) REFERENCES goals (goal_id, employee_id),
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
);
CREATE INDEX intentions_open ON intentions (employee_id, created_at) WHERE ended_at IS NULL;
CREATE INDEX intentions_ended ON intentions (employee_id, ended_at DESC);
CREATE INDEX intentions_by_goal ON intentions (goal_id, created_at DESC);

CREATE TABLE intention_steps (
  intention_id uuid NOT NULL,
  step         integer NOT NULL CHECK (step BETWEEN 1 AND 20),
  tenant_id    uuid NOT NULL,
  employee_id  uuid NOT NULL,
  name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  instruction  text NOT NULL CHECK (length(instruction) BETWEEN 1 AND 4000),
  after        integer[] NOT NULL DEFAULT '{}', -- the steps that must be done before it
  state        text NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'ready', 'running', 'done', 'failed', 'skipped')),
  message_id   uuid,                            -- its run
  outcome      text NOT NULL DEFAULT '' CHECK (length(outcome) <= 4000), -- what came out, or why it failed
  ready_at     timestamptz,
  ended_at     timestamptz,
  PRIMARY KEY (intention_id, step),
  CHECK (step > ALL (after)), -- so that no plan runs in a circle
  CHECK ((state IN ('running', 'done')) <= (message_id IS NOT NULL)),
  CHECK ((state IN ('done', 'failed', 'skipped')) = (ended_at IS NOT NULL)),
  FOREIGN KEY (intention_id, employee_id, tenant_id) REFERENCES intentions (intention_id, employee_id, tenant_id),
  FOREIGN KEY (message_id, employee_id, tenant_id) REFERENCES inbound_messages (message_id, employee_id, tenant_id)
);
CREATE INDEX intention_steps_ready ON intention_steps (ready_at) WHERE state = 'ready';
CREATE INDEX intention_steps_begun ON intention_steps (employee_id) WHERE state IN ('ready', 'running');
CREATE INDEX intention_steps_by_message ON intention_steps (message_id) WHERE message_id IS NOT NULL;

-- When an employee planned last, and why it has to plan again; '' when nothing asks for it.
CREATE TABLE planning (
  employee_id uuid PRIMARY KEY,
  tenant_id   uuid NOT NULL,
  planned_at  timestamptz,
  wanted      text NOT NULL DEFAULT '' CHECK (length(wanted) <= 1000),
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
);

-- A cycle that has to plan does so between thinking and acting.
ALTER TABLE cycles DROP CONSTRAINT cycles_phase_check, ADD CONSTRAINT cycles_phase_check
  CHECK (phase IN ('perceive', 'think', 'plan', 'act', 'done'));

ALTER TABLE state_edges DROP CONSTRAINT state_edges_machine_check, ADD CONSTRAINT state_edges_machine_check
  CHECK (machine IN ('message', 'worker', 'outbox', 'review', 'schedule', 'goal', 'intention', 'intention_step'));
INSERT INTO state_edges VALUES
  ('goal', 'active', '', 'achieved',  '', 'employee'),
  ('goal', 'active', '', 'failed',    '', 'employee'),
  ('goal', 'active', '', 'abandoned', '', 'controlplane'),
  ('intention', 'planned', '', 'running',   '', 'employee'),
  ('intention', 'planned', '', 'abandoned', '', 'employee'),
  ('intention', 'planned', '', 'abandoned', '', 'controlplane'),
  ('intention', 'running', '', 'done',      '', 'employee'),
  ('intention', 'running', '', 'failed',    '', 'employee'),
  ('intention', 'running', '', 'abandoned', '', 'employee'),
  ('intention', 'running', '', 'abandoned', '', 'controlplane'),
  ('intention_step', 'planned', '', 'ready',   '', 'employee'),
  ('intention_step', 'planned', '', 'skipped', '', 'employee'),
  ('intention_step', 'planned', '', 'skipped', '', 'controlplane'),
  ('intention_step', 'ready',   '', 'running', '', 'controlplane'),
  ('intention_step', 'ready',   '', 'failed',  '', 'controlplane'),
  ('intention_step', 'ready',   '', 'skipped', '', 'employee'),
  ('intention_step', 'ready',   '', 'skipped', '', 'controlplane'),
  ('intention_step', 'running', '', 'done',    '', 'employee'),
  ('intention_step', 'running', '', 'failed',  '', 'employee');
CREATE TRIGGER legal_edge BEFORE UPDATE OF state ON goals FOR EACH ROW
  WHEN (NOT is_legal_edge('goal', OLD.state, '', NEW.state, '')) EXECUTE FUNCTION refuse_edge('goal');
CREATE TRIGGER legal_edge BEFORE UPDATE OF state ON intentions FOR EACH ROW
  WHEN (NOT is_legal_edge('intention', OLD.state, '', NEW.state, '')) EXECUTE FUNCTION refuse_edge('intention');
CREATE TRIGGER legal_edge BEFORE UPDATE OF state ON intention_steps FOR EACH ROW
  WHEN (NOT is_legal_edge('intention_step', OLD.state, '', NEW.state, '')) EXECUTE FUNCTION refuse_edge('intention_step');

-- The control plane begins a step when it hears of it, and stops what goes on for a plan that was given up. That tells nobody.
CREATE FUNCTION tell_of_steps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NOTIFY empla_steps;
  RETURN NULL;
END $$;
CREATE TRIGGER told AFTER UPDATE OF state ON intention_steps FOR EACH ROW
  WHEN (NEW.state = 'ready') EXECUTE FUNCTION tell_of_steps();
CREATE TRIGGER told AFTER UPDATE OF state ON intentions FOR EACH ROW
  WHEN (NEW.state IN ('failed', 'abandoned')) EXECUTE FUNCTION tell_of_steps();

GRANT SELECT ON goals, goal_changes, intentions, intention_steps, planning TO empla_employee;
GRANT UPDATE (state, progress, reason, assessed_at, ended_at) ON goals TO empla_employee;
GRANT INSERT (goal_id, tenant_id, employee_id, cycle_id, state, progress, reason) ON goal_changes TO empla_employee;
GRANT INSERT (intention_id, goal_id, tenant_id, employee_id, cycle_id, title, why) ON intentions TO empla_employee;
GRANT UPDATE (state, reason, ended_at) ON intentions TO empla_employee;
GRANT INSERT (intention_id, step, tenant_id, employee_id, name, instruction, after) ON intention_steps TO empla_employee;
GRANT UPDATE (state, outcome, ready_at, ended_at) ON intention_steps TO empla_employee;
GRANT INSERT, UPDATE (planned_at, wanted) ON planning TO empla_employee;
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['goals', 'goal_changes', 'intentions', 'intention_steps', 'planning']
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY own_rows ON %I TO empla_employee USING (employee_id = current_employee())', name);
  END LOOP;
END $$;

-- What an employee asks itself makes no schedules, as a run of one makes none.
ALTER POLICY as_asked ON schedules WITH CHECK (EXISTS (
  SELECT FROM inbound_messages m WHERE m.message_id = schedules.asked_in AND m.conversation_id = schedules.conversation_id
    AND m.sender = schedules.sender AND NOT starts_with(m.event_id, 'schedule:') AND NOT starts_with(m.event_id, 'intention:')
));
