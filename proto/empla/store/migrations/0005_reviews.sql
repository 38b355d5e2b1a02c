-- Reviews that people decide.
--
-- What a person decides about a unit of an employee is a row of unit_answers whose key is the review's id; to insert it is to
-- close the review. What a person decides about a row of the outbox moves that row, which only the control plane does.

-- What the sweep of expired reviews reads.
CREATE INDEX reviews_expiring ON reviews (expires_at) WHERE state = 'open' AND expires_at IS NOT NULL;

-- Whether what the review is about still waits for its decision. If not, it can only be closed.
CREATE FUNCTION review_resumes(r reviews) RETURNS boolean LANGUAGE sql STABLE
RETURN r.state = 'open' AND CASE
  WHEN r.kind = 'draft' THEN EXISTS (
    SELECT FROM outbox o WHERE o.outbox_id = r.outbox_id AND o.employee_id = r.employee_id AND o.state = 'held')
  WHEN r.kind = 'unknown_after_send' THEN EXISTS (
    SELECT FROM outbox o WHERE o.outbox_id = r.outbox_id AND o.employee_id = r.employee_id AND o.state = 'unknown_after_send')
  WHEN r.kind = 'classification' THEN EXISTS (
    SELECT FROM inbound_messages m JOIN employees e ON e.employee_id = m.employee_id AND e.deleted_at IS NULL
    WHERE m.message_id = r.message_id AND m.processing_state = 'waiting' AND m.step = 'classification')
  WHEN r.kind IN ('question', 'approval', 'needs_manual_intervention') THEN EXISTS (
    SELECT FROM message_workers w JOIN employees e ON e.employee_id = w.employee_id AND e.deleted_at IS NULL
    WHERE w.worker_id = r.worker_id AND w.employee_id = r.employee_id AND w.message_id = r.message_id
      AND (w.state = 'waiting_for_input' OR w.state = 'failed' AND r.kind = 'needs_manual_intervention'))
  ELSE false
END;

-- Closes the review that an answer is for, or refuses the answer. It runs with the owner's rights, for an employee may not
-- write reviews; whether the employee may insert the row at all, row security has checked before.
CREATE FUNCTION close_answered_review() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE public.reviews r
  SET state = CASE WHEN NEW.answer ->> 'decision' = 'expired' THEN 'expired' ELSE 'resolved' END,
    decision = NEW.answer, resolved_by = NEW.answered_by, resolved_at = pg_catalog.now()
  WHERE r.review_id = NEW.question_key::uuid AND r.review_id::text = NEW.question_key AND r.state = 'open'
    AND r.kind IN ('classification', 'question', 'approval', 'needs_manual_intervention')
    AND r.employee_id = NEW.employee_id AND r.tenant_id = NEW.tenant_id AND r.message_id = NEW.message_id
    AND coalesce(r.worker_id, r.message_id) = NEW.unit_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no open review of this unit takes the answer' USING ERRCODE = 'EM002';
  END IF;
  RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION close_answered_review() FROM PUBLIC;
CREATE TRIGGER close_answered_review AFTER INSERT ON unit_answers FOR EACH ROW EXECUTE FUNCTION close_answered_review();

ALTER TABLE unit_answers ADD CHECK (
  answer ->> 'decision' IS NOT NULL AND answer ->> 'decision' IN ('approve', 'answer', 'reject', 'classify', 'expired'));

-- An employee passes on what the sender wrote in answer to a question, and decides nothing else.
GRANT INSERT (unit_id, question_key, message_id, tenant_id, employee_id, answer, answered_by) ON unit_answers TO empla_employee;
CREATE POLICY senders_answers ON unit_answers AS RESTRICTIVE FOR INSERT TO empla_employee WITH CHECK (
  answer ->> 'decision' = 'answer'
  AND EXISTS (SELECT FROM reviews r WHERE r.review_id = unit_answers.question_key::uuid AND r.kind = 'question')
  AND answered_by = (SELECT m.sender FROM inbound_messages m WHERE m.message_id = unit_answers.message_id)
);
