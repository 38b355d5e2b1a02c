-- Budgets of what models cost, and the kill switch.
--
-- The most that a call of a model can cost is held before it, and settled to what it did cost after it. The day's spending of an
-- employee and of a tenant is a row each, whose lock makes holds one after the other: no two of them take the same room. A hold
-- counts while the launch that took it is the employee's, its process has not ended, and its time is not over.
--
-- A day's row says that its budget is spent, and that is the pause: with the day it is over. What a person pauses is a column, and
-- only a person takes it back. Employees write none of this: they call functions that run with the owner's rights.

ALTER TABLE tenants
  ADD COLUMN paused_by text NOT NULL DEFAULT '', ADD COLUMN pause_reason text NOT NULL DEFAULT '', ADD COLUMN paused_at timestamptz,
  ADD COLUMN day_micros bigint CHECK (day_micros > 0), ADD COLUMN day_tokens bigint CHECK (day_tokens > 0);

ALTER TABLE employees
  ADD COLUMN paused_by text NOT NULL DEFAULT '', ADD COLUMN pause_reason text NOT NULL DEFAULT '', ADD COLUMN paused_at timestamptz,
  ADD COLUMN day_micros bigint GENERATED ALWAYS AS
    (nullif(ceil((profile #>> '{budget,day_dollars}')::numeric * 1000000)::bigint, 0)) STORED,
  ADD COLUMN day_tokens bigint GENERATED ALWAYS AS (nullif((profile #>> '{budget,day_tokens}')::bigint, 0)) STORED,
  ADD COLUMN message_micros bigint GENERATED ALWAYS AS
    (nullif(ceil((profile #>> '{budget,message_dollars}')::numeric * 1000000)::bigint, 0)) STORED,
  ADD COLUMN message_tokens bigint GENERATED ALWAYS AS (nullif((profile #>> '{budget,message_tokens}')::bigint, 0)) STORED;
CREATE INDEX employees_paused ON employees (employee_id) WHERE paused;

ALTER TABLE reviews DROP CONSTRAINT reviews_kind_check, ADD CONSTRAINT reviews_kind_check CHECK (kind IN
  ('classification', 'quarantine', 'needs_manual_intervention', 'approval', 'question', 'draft', 'unknown_after_send', 'budget'));

-- What was spent on a day (UTC), and how often the budget was granted for it. `review_id` is the notice that it is spent.
CREATE TABLE budget_days (
  owner_id    uuid NOT NULL, -- the employee, or the tenant
  day         date NOT NULL,
  tenant_id   uuid NOT NULL REFERENCES tenants,
  employee_id uuid, -- NULL: it is the tenant's
  micros      bigint NOT NULL,
  tokens      bigint NOT NULL,
  granted     integer NOT NULL DEFAULT 1 CHECK (granted > 0),
  spent_at    timestamptz,
  reason      text NOT NULL DEFAULT '',
  review_id   uuid,
  PRIMARY KEY (owner_id, day),
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
) WITH (fillfactor = 70);
CREATE INDEX budget_days_spent ON budget_days (day) WHERE spent_at IS NOT NULL;

CREATE TABLE budget_messages (
  message_id  uuid PRIMARY KEY,
  tenant_id   uuid NOT NULL,
  employee_id uuid NOT NULL,
  micros      bigint NOT NULL DEFAULT 0,
  tokens      bigint NOT NULL DEFAULT 0,
  FOREIGN KEY (message_id, employee_id, tenant_id)
    REFERENCES inbound_messages (message_id, employee_id, tenant_id) ON DELETE CASCADE
) WITH (fillfactor = 70);

CREATE TABLE budget_holds (
  hold_id     uuid PRIMARY KEY,
  tenant_id   uuid NOT NULL,
  employee_id uuid NOT NULL,
  epoch       bigint NOT NULL,
  day         date NOT NULL,
  message_id  uuid,
  micros      bigint NOT NULL CHECK (micros >= 0),
  tokens      bigint NOT NULL CHECK (tokens >= 0),
  until       timestamptz NOT NULL,
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
) WITH (autovacuum_vacuum_scale_factor = 0.01);
CREATE INDEX budget_holds_by_tenant ON budget_holds (tenant_id);
CREATE INDEX budget_holds_by_employee ON budget_holds (employee_id);

ALTER TABLE budget_days ENABLE ROW LEVEL SECURITY;
ALTER TABLE budget_messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE budget_holds ENABLE ROW LEVEL SECURITY;

-- What is held of a day, or of a message, that still may be spent.
CREATE FUNCTION budget_held(at timestamptz, tenant uuid, employee uuid, message uuid, of_day date, OUT micros bigint, OUT tokens bigint)
LANGUAGE sql STABLE AS $$
  SELECT coalesce(sum(h.micros), 0)::bigint, coalesce(sum(h.tokens), 0)::bigint
  FROM budget_holds h JOIN employee_epochs p ON p.employee_id = h.employee_id AND p.epoch = h.epoch AND p.ended_at IS NULL
  WHERE h.tenant_id = tenant AND (employee IS NULL OR h.employee_id = employee) AND (message IS NULL OR h.message_id = message)
    AND (of_day IS NULL OR h.day = of_day) AND h.until > at
$$;

-- Whether there is room for a call: '' yes; 'wait': not before others are settled; 'spent': nor then. A limit that is NULL is none.
CREATE FUNCTION budget_room(
  spent_micros bigint, held_micros bigint, micros bigint, limit_micros bigint,
  spent_tokens bigint, held_tokens bigint, tokens bigint, limit_tokens bigint
) RETURNS text LANGUAGE sql IMMUTABLE
RETURN CASE
  WHEN spent_micros + micros > limit_micros OR spent_tokens + tokens > limit_tokens THEN 'spent'
  WHEN spent_micros + held_micros + micros > limit_micros OR spent_tokens + held_tokens + tokens > limit_tokens THEN 'wait'
  ELSE '' END;

-- Room for a call in the day of an employee, or (`employee` NULL) of its tenant. Where there is none the day is marked as spent,
-- with one notice, by whoever comes first; `me` is the employee whose call it is. Holds the day's row until the transaction ends.
CREATE FUNCTION budget_of_day(
  at timestamptz, me uuid, tenant uuid, employee uuid, name text,
  want_micros bigint, want_tokens bigint, limit_micros bigint, limit_tokens bigint
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  owner uuid := coalesce(employee, tenant);
  today date := (at AT TIME ZONE 'UTC')::date;
  since timestamptz := today::timestamp AT TIME ZONE 'UTC';
  spending budget_days;
  held record;
  room text;
  why text;
  notice uuid;
BEGIN
  IF NOT EXISTS (SELECT FROM budget_days WHERE owner_id = owner AND day = today) THEN
    -- What was spent before there was a budget counts as well.
    INSERT INTO budget_days (owner_id, day, tenant_id, employee_id, micros, tokens)
    SELECT owner, today, tenant, employee, coalesce(sum(micros), 0), coalesce(sum(tokens), 0) FROM (
      SELECT cost_micros AS micros, tokens_in + tokens_out AS tokens FROM step_attempts
      WHERE finished_at >= since AND tenant_id = tenant AND (employee IS NULL OR employee_id = employee)
      UNION ALL
      SELECT cost_micros, tokens_in + tokens_out FROM cycles
      WHERE started_at >= since AND tenant_id = tenant AND (employee IS NULL OR employee_id = employee)
    ) recorded
    ON CONFLICT DO NOTHING;
  END IF;
  SELECT * INTO spending FROM budget_days WHERE owner_id = owner AND day = today FOR UPDATE;
  IF spending.spent_at IS NOT NULL THEN
    RETURN 'spent';
  END IF;
  SELECT * INTO held FROM budget_held(at, tenant, employee, NULL, today);
  room := budget_room(spending.micros, held.micros, want_micros, limit_micros * spending.granted,
    spending.tokens, held.tokens, want_tokens, limit_tokens * spending.granted);
  IF room = 'spent' THEN
    why := format('the budget of %s for %s is spent: ', name, today) || CASE
      WHEN spending.micros + want_micros > limit_micros * spending.granted THEN format('$%s of $%s, and the next call may cost $%s',
        round(spending.micros / 1e6, 4), round(limit_micros * spending.granted / 1e6, 2), round(want_micros / 1e6, 4))
      ELSE format('%s of %s tokens, and the next call may take %s', spending.tokens, limit_tokens * spending.granted, want_tokens) END;
    notice := gen_random_uuid();
    INSERT INTO reviews (review_id, tenant_id, employee_id, kind, reason, payload, expires_at)
    VALUES (notice, tenant, me, 'budget', why, jsonb_build_object('day', today, 'of', CASE WHEN employee IS NULL THEN 'tenant' ELSE 'employee' END),
      since + interval '1 day');
    INSERT INTO audit_log (tenant_id, actor, action, subject, detail)
    VALUES (tenant, 'budget', CASE WHEN employee IS NULL THEN 'tenant.pause' ELSE 'employee.pause' END, owner::text,
      jsonb_build_object('reason', why));
    UPDATE budget_days SET spent_at = at, reason = why, review_id = notice WHERE owner_id = owner AND day = today;
  END IF;
  RETURN room;
END $$;

-- Holds the most that a call of a model may cost: 'held'; or 'wait', 'message' (that one's budget is spent), 'paused' (the day's is),
-- 'superseded'. Rows are locked in one order: epoch, message, the employee's day, the tenant's.
CREATE FUNCTION budget_hold(
  at timestamptz, me uuid, my_epoch bigint, hold uuid, message uuid, want_micros bigint, want_tokens bigint, seconds float8
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  mine record;
  spending budget_messages;
  held record;
  room text := '';
  allowed bigint;
BEGIN
  PERFORM FROM employee_epochs WHERE employee_id = me AND epoch = my_epoch FOR KEY SHARE;
  IF NOT FOUND THEN
    RETURN 'superseded';
  END IF;
  SELECT e.tenant_id, e.name, e.day_micros, e.day_tokens, e.message_micros, e.message_tokens,
    t.name AS tenant, t.day_micros AS tenant_micros, t.day_tokens AS tenant_tokens
  INTO mine FROM employees e JOIN tenants t USING (tenant_id) WHERE e.employee_id = me;
  DELETE FROM budget_holds h WHERE h.employee_id = me AND (h.epoch < my_epoch OR h.until < at - interval '1 hour');
  IF message IS NOT NULL AND (mine.message_micros IS NOT NULL OR mine.message_tokens IS NOT NULL) THEN
    -- Each time that a person has it tried again it is granted once more.
    SELECT 1 + count(*) INTO allowed FROM unit_answers a JOIN reviews r ON r.review_id = a.question_key::uuid
    WHERE a.message_id = message AND a.employee_id = me AND r.kind = 'needs_manual_intervention' AND a.answer ->> 'decision' = 'approve';
    INSERT INTO budget_messages (message_id, tenant_id, employee_id) SELECT message_id, tenant_id, employee_id
    FROM inbound_messages WHERE message_id = message AND employee_id = me ON CONFLICT DO NOTHING;
    SELECT * INTO spending FROM budget_messages WHERE message_id = message FOR UPDATE;
    SELECT * INTO held FROM budget_held(at, mine.tenant_id, me, message, NULL);
    room := budget_room(spending.micros, held.micros, want_micros, mine.message_micros * allowed,
      spending.tokens, held.tokens, want_tokens, mine.message_tokens * allowed);
    IF room <> '' THEN
      RETURN CASE room WHEN 'spent' THEN 'message' ELSE room END;
    END IF;
  END IF;
  IF mine.day_micros IS NOT NULL OR mine.day_tokens IS NOT NULL THEN
    room := budget_of_day(at, me, mine.tenant_id, me, mine.name, want_micros, want_tokens, mine.day_micros, mine.day_tokens);
  END IF;
  IF room = '' AND (mine.tenant_micros IS NOT NULL OR mine.tenant_tokens IS NOT NULL) THEN
    room := budget_of_day(at, me, mine.tenant_id, NULL, 'tenant ' || mine.tenant, want_micros, want_tokens,
      mine.tenant_micros, mine.tenant_tokens);
  END IF;
  IF room <> '' THEN
    RETURN CASE room WHEN 'spent' THEN 'paused' ELSE room END;
  END IF;
  INSERT INTO budget_holds VALUES (hold, mine.tenant_id, me, my_epoch, (at AT TIME ZONE 'UTC')::date, message, want_micros, want_tokens,
    at + make_interval(secs => seconds));
  RETURN 'held';
END $$;

-- The same, now, for the employee whose role the connection has; nobody else has anything held.
CREATE FUNCTION hold_budget(my_epoch bigint, hold uuid, message uuid, micros bigint, tokens bigint, seconds float8) RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT budget_hold(now(), substr(session_user::text, 9)::uuid, my_epoch, hold, message, greatest(micros, 0), greatest(tokens, 0), least(seconds, 3600))
$$;

-- Ends a hold of the employee whose role the connection has, with what the call did cost; one that has ended is let be.
CREATE FUNCTION settle_budget(hold uuid, cost bigint, taken bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  held budget_holds;
BEGIN
  DELETE FROM budget_holds h WHERE h.hold_id = hold AND h.employee_id = substr(session_user::text, 9)::uuid RETURNING * INTO held;
  IF FOUND AND (cost > 0 OR taken > 0) THEN
    UPDATE budget_messages SET micros = micros + greatest(cost, 0), tokens = tokens + greatest(taken, 0) WHERE message_id = held.message_id;
    UPDATE budget_days SET micros = micros + greatest(cost, 0), tokens = tokens + greatest(taken, 0)
    WHERE owner_id = held.employee_id AND day = held.day;
    UPDATE budget_days SET micros = micros + greatest(cost, 0), tokens = tokens + greatest(taken, 0)
    WHERE owner_id = held.tenant_id AND day = held.day;
  END IF;
END $$;

REVOKE ALL ON FUNCTION budget_held, budget_of_day, budget_hold, hold_budget, settle_budget FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hold_budget, settle_budget TO empla_employee;

-- Who is paused, at a moment: by a person, with their tenant, or because a budget of that day is spent.
CREATE FUNCTION paused_employees(at timestamptz) RETURNS SETOF uuid LANGUAGE sql STABLE AS $$
  SELECT employee_id FROM employees WHERE paused
  UNION
  SELECT e.employee_id FROM tenants t JOIN employees e USING (tenant_id) WHERE t.paused
  UNION
  SELECT e.employee_id FROM budget_days b JOIN employees e ON e.tenant_id = b.tenant_id AND e.employee_id = coalesce(b.employee_id, e.employee_id)
  WHERE b.spent_at IS NOT NULL AND b.day = (at AT TIME ZONE 'UTC')::date
$$;

-- Why an employee is paused: what a person did before what a budget did; NULL: it is not.
CREATE FUNCTION pause_of(at timestamptz, employee uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('cause', cause, 'by', by, 'reason', reason, 'since', since, 'tenant', tenant) FROM (
    SELECT 1 AS place, 'employee' AS cause, paused_by AS by, pause_reason AS reason, paused_at AS since, '' AS tenant
    FROM employees WHERE employee_id = employee AND paused
    UNION ALL
    SELECT 2, 'tenant', t.paused_by, t.pause_reason, t.paused_at, t.name
    FROM employees e JOIN tenants t USING (tenant_id) WHERE e.employee_id = employee AND t.paused
    UNION ALL
    SELECT CASE WHEN b.employee_id IS NULL THEN 4 ELSE 3 END, CASE WHEN b.employee_id IS NULL THEN 'tenant_budget' ELSE 'employee_budget' END,
      'budget', b.reason, b.spent_at, CASE WHEN b.employee_id IS NULL THEN t.name ELSE '' END
    FROM employees e JOIN tenants t USING (tenant_id) JOIN budget_days b ON b.owner_id IN (e.employee_id, e.tenant_id)
    WHERE e.employee_id = employee AND b.day = (at AT TIME ZONE 'UTC')::date AND b.spent_at IS NOT NULL
  ) why ORDER BY place LIMIT 1
$$;

-- Takes back that the budget of a day is spent, and its notice.
CREATE FUNCTION reopen_budget(at timestamptz, owner uuid, by text, more integer) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  reopened budget_days;
BEGIN
  UPDATE budget_days SET spent_at = NULL, reason = '', granted = granted + more
  WHERE owner_id = owner AND day = (at AT TIME ZONE 'UTC')::date AND spent_at IS NOT NULL RETURNING * INTO reopened;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  UPDATE reviews SET state = 'resolved', resolved_by = by, resolved_at = now(), decision = '{"decision": "reject"}'
  WHERE review_id = reopened.review_id AND state = 'open';
  RETURN true;
END $$;

-- Another budget is judged anew: the next call finds out whether there is room in it.
CREATE FUNCTION follow_budget() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM reopen_budget(now(), CASE TG_TABLE_NAME WHEN 'tenants' THEN NEW.tenant_id ELSE (to_jsonb(NEW) ->> 'employee_id')::uuid END, 'budget', 0);
  RETURN NULL;
END $$;
CREATE TRIGGER follow_budget AFTER UPDATE ON employees FOR EACH ROW
  WHEN ((NEW.day_micros, NEW.day_tokens) IS DISTINCT FROM (OLD.day_micros, OLD.day_tokens)) EXECUTE FUNCTION follow_budget();
CREATE TRIGGER follow_budget AFTER UPDATE OF day_micros, day_tokens ON tenants FOR EACH ROW
  WHEN ((NEW.day_micros, NEW.day_tokens) IS DISTINCT FROM (OLD.day_micros, OLD.day_tokens)) EXECUTE FUNCTION follow_budget();
REVOKE ALL ON FUNCTION paused_employees, pause_of, reopen_budget FROM PUBLIC;
