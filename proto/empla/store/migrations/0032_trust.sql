-- What an employee that says something false can do to others: what it holds and settles counts in its tenant's day up to its own
-- budget of that day, and no further.

-- What an employee may spend on each day (NULL: whatever it wants). Without a budget of its own one of several employees has three
-- quarters of its tenant's: whatever it says that its calls cost, the others have the rest.
CREATE FUNCTION budget_limits(employee uuid, OUT day_micros bigint, OUT day_tokens bigint) LANGUAGE sql STABLE AS $$
  SELECT coalesce(e.day_micros, CASE WHEN shared THEN (t.day_micros * 3 + 3) / 4 END),
    coalesce(e.day_tokens, CASE WHEN shared THEN (t.day_tokens * 3 + 3) / 4 END)
  FROM employees e JOIN tenants t USING (tenant_id), LATERAL (
    SELECT EXISTS (SELECT FROM employees o WHERE o.tenant_id = e.tenant_id AND o.employee_id <> e.employee_id AND o.deleted_at IS NULL)
  ) AS others (shared)
  WHERE e.employee_id = employee
$$;
REVOKE ALL ON FUNCTION budget_limits FROM PUBLIC;

-- As before, but that what employees have recorded of a day counts up to what each may spend on it.
CREATE OR REPLACE FUNCTION budget_of_day(
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
    SELECT owner, today, tenant, employee, coalesce(sum(least(greatest(said.micros, 0), own.day_micros)), 0),
      coalesce(sum(least(greatest(said.tokens, 0), own.day_tokens)), 0)
    FROM (
      SELECT employee_id, sum(cost_micros) AS micros, sum(tokens_in + tokens_out) AS tokens FROM (
        SELECT employee_id, cost_micros, tokens_in, tokens_out FROM step_attempts
        WHERE finished_at >= since AND tenant_id = tenant AND (employee IS NULL OR employee_id = employee)
        UNION ALL
        SELECT employee_id, cost_micros, tokens_in, tokens_out FROM cycles
        WHERE started_at >= since AND tenant_id = tenant AND (employee IS NULL OR employee_id = employee)
      ) recorded GROUP BY employee_id
    ) said, LATERAL budget_limits(said.employee_id) own
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

-- As before, but for what limits the day of an employee without a budget of its own, and that it locks no row of another's message.
CREATE OR REPLACE FUNCTION budget_hold(
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
  SELECT e.tenant_id, e.name || CASE WHEN (own.day_micros, own.day_tokens) IS DISTINCT FROM (e.day_micros, e.day_tokens)
      THEN ' (three quarters of its tenant''s, for it has none of its own)' ELSE '' END AS name,
    own.day_micros, own.day_tokens, e.message_micros, e.message_tokens,
    t.name AS tenant, t.day_micros AS tenant_micros, t.day_tokens AS tenant_tokens
  INTO mine FROM employees e JOIN tenants t USING (tenant_id), LATERAL budget_limits(e.employee_id) own WHERE e.employee_id = me;
  DELETE FROM budget_holds h WHERE h.employee_id = me AND (h.epoch < my_epoch OR h.until < at - interval '1 hour');
  IF message IS NOT NULL AND (mine.message_micros IS NOT NULL OR mine.message_tokens IS NOT NULL) THEN
    -- Each time that a person has it tried again it is granted once more.
    SELECT 1 + count(*) INTO allowed FROM unit_answers a JOIN reviews r ON r.review_id = a.question_key::uuid
    WHERE a.message_id = message AND a.employee_id = me AND r.kind = 'needs_manual_intervention' AND a.answer ->> 'decision' = 'approve';
    INSERT INTO budget_messages (message_id, tenant_id, employee_id) SELECT message_id, tenant_id, employee_id
    FROM inbound_messages WHERE message_id = message AND employee_id = me ON CONFLICT DO NOTHING;
    SELECT * INTO spending FROM budget_messages WHERE message_id = message AND employee_id = me FOR UPDATE;
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

-- Ends a hold of the employee whose role the connection has, with what the call did cost; one that has ended is let be. The tenant's
-- day bears of it what the employee's own has room for.
CREATE OR REPLACE FUNCTION settle_budget(hold uuid, cost bigint, taken bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  spent_micros bigint := least(greatest(cost, 0), 1000000000000); -- the highest budget that there is
  spent_tokens bigint := least(greatest(taken, 0), 1000000000000);
  ended budget_holds;
  mine budget_days;
  own record;
  held record;
BEGIN
  DELETE FROM budget_holds h WHERE h.hold_id = hold AND h.employee_id = substr(session_user::text, 9)::uuid RETURNING * INTO ended;
  IF NOT FOUND OR (spent_micros = 0 AND spent_tokens = 0) THEN
    RETURN;
  END IF;
  UPDATE budget_messages SET micros = micros + spent_micros, tokens = tokens + spent_tokens
  WHERE message_id = ended.message_id AND employee_id = ended.employee_id;
  UPDATE budget_days SET micros = micros + spent_micros, tokens = tokens + spent_tokens
  WHERE owner_id = ended.employee_id AND day = ended.day RETURNING * INTO mine;
  SELECT * INTO own FROM budget_limits(ended.employee_id);
  SELECT * INTO held FROM budget_held(now(), ended.tenant_id, ended.employee_id, NULL, ended.day);
  UPDATE budget_days SET
    micros = micros + budget_borne(spent_micros, own.day_micros * coalesce(mine.granted, 1), coalesce(mine.micros, spent_micros) + held.micros),
    tokens = tokens + budget_borne(spent_tokens, own.day_tokens * coalesce(mine.granted, 1), coalesce(mine.tokens, spent_tokens) + held.tokens)
  WHERE owner_id = ended.tenant_id AND day = ended.day;
END $$;

-- What a tenant's day bears of what an employee has spent: with it, `taken` is what it took of its own budget. A limit that is NULL is none.
CREATE FUNCTION budget_borne(spent bigint, own_limit bigint, taken bigint) RETURNS bigint LANGUAGE sql IMMUTABLE
RETURN CASE WHEN own_limit IS NULL THEN spent ELSE greatest(0, least(spent, own_limit - (taken - spent))) END;

-- Another budget is judged anew, and a tenant's for those who have a share of it: the next call finds out whether there is room in it.
CREATE OR REPLACE FUNCTION follow_budget() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_TABLE_NAME = 'tenants' THEN
    PERFORM reopen_budget(now(), employee_id, 'budget', 0) FROM employees
    WHERE tenant_id = NEW.tenant_id AND deleted_at IS NULL AND (day_micros IS NULL OR day_tokens IS NULL);
  END IF;
  PERFORM reopen_budget(now(), CASE TG_TABLE_NAME WHEN 'tenants' THEN NEW.tenant_id ELSE (to_jsonb(NEW) ->> 'employee_id')::uuid END, 'budget', 0);
  RETURN NULL;
END $$;
