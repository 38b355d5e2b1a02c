-- Work that is stopped: by an operator, or by whoever writes /stop in its conversation.
--
-- Who wants that is noted by the control plane, on the message and on those of its workers that have not ended. The employee may
-- not write it; it reads it before it asks a model and before it acts. From then on a message or worker of which it is noted goes
-- nowhere but to its end: whatever else its employee wants to write of it is skipped, as if somebody else had moved the row. So
-- what is stopped is stopped, whoever is first. What nobody has claimed, or has left the employee, the control plane ends itself.

ALTER TABLE inbound_messages ADD COLUMN cancelled_by text, ADD COLUMN cancel_reason text NOT NULL DEFAULT '',
  ADD COLUMN cancelled_at timestamptz,
  ADD COLUMN cancelled_with uuid; -- the message that said /stop, whose reply says what was stopped; NULL: an operator's wish
ALTER TABLE message_workers ADD COLUMN cancelled_with uuid;
CREATE INDEX inbound_messages_cancelled ON inbound_messages (employee_id) WHERE cancelled_by IS NOT NULL AND ended_at IS NULL;
CREATE INDEX message_workers_cancelled ON message_workers (message_id)
  WHERE cancelled_by IS NOT NULL AND state IN ('running', 'waiting_for_input');

INSERT INTO state_edges VALUES
  ('message', 'received', 'security_filter', 'withheld', '', 'controlplane'),
  ('message', 'received', 'security_filter', 'sending', 'send', 'controlplane'), -- a /stop, which is answered at once
  ('worker', 'running', 'action_planning', 'cancelled', '', 'employee'),
  ('worker', 'running', 'draft_generation', 'cancelled', '', 'employee'),
  ('worker', 'running', 'routing', 'cancelled', '', 'employee'),
  ('worker', 'waiting_for_input', 'action_planning', 'cancelled', '', 'employee'),
  ('worker', 'waiting_for_input', 'background', 'cancelled', '', 'employee'),
  ('worker', 'waiting_for_input', 'draft_generation', 'cancelled', '', 'employee'),
  ('worker', 'waiting_for_input', 'routing', 'cancelled', '', 'employee');

CREATE FUNCTION skip_update() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER cancelled_ends BEFORE UPDATE OF processing_state ON inbound_messages FOR EACH ROW
  WHEN (NEW.cancelled_by IS NOT NULL AND current_employee() IS NOT NULL AND OLD.processing_state <> NEW.processing_state
    AND OLD.processing_state IN ('received', 'analyzing', 'working', 'merging', 'waiting') AND NEW.processing_state <> 'withheld')
  EXECUTE FUNCTION skip_update();
CREATE TRIGGER cancelled_ends BEFORE UPDATE OF state ON message_workers FOR EACH ROW
  WHEN (NEW.cancelled_by IS NOT NULL AND current_employee() IS NOT NULL AND OLD.state <> NEW.state AND NEW.state <> 'cancelled')
  EXECUTE FUNCTION skip_update();

-- Nobody needs to decide any more about what was stopped. With the owner's rights, for an employee may not write reviews.
CREATE FUNCTION close_reviews_of_cancelled() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  worker uuid := CASE TG_ARGV[0] WHEN 'worker' THEN (pg_catalog.to_jsonb(NEW) ->> 'worker_id')::uuid END;
BEGIN
  UPDATE public.reviews r SET state = 'resolved', resolved_by = NEW.cancelled_by, resolved_at = pg_catalog.now(),
    decision = pg_catalog.jsonb_build_object('decision', 'cancel', 'reason', NEW.cancel_reason)
  WHERE r.message_id = NEW.message_id AND r.employee_id = NEW.employee_id AND r.state = 'open'
    AND r.kind <> 'unknown_after_send' AND (worker IS NULL OR r.worker_id = worker);
  UPDATE public.unit_answers u SET taken_at = pg_catalog.now()
  WHERE u.message_id = NEW.message_id AND u.employee_id = NEW.employee_id AND u.taken_at IS NULL
    AND (worker IS NULL OR u.unit_id = worker);
  RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION close_reviews_of_cancelled() FROM PUBLIC;
CREATE TRIGGER close_reviews AFTER UPDATE OF processing_state ON inbound_messages FOR EACH ROW
  WHEN (NEW.cancelled_by IS NOT NULL AND NEW.processing_state = 'withheld' AND OLD.processing_state <> 'withheld')
  EXECUTE FUNCTION close_reviews_of_cancelled('message');
CREATE TRIGGER close_reviews AFTER UPDATE OF state ON message_workers FOR EACH ROW
  WHEN (NEW.state = 'cancelled' AND OLD.state <> 'cancelled')
  EXECUTE FUNCTION close_reviews_of_cancelled('worker');
