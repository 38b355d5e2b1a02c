-- A message that arrives while an earlier one of its conversation is in work may be answered together with it, or with a later one.
--
-- `collected_into` names the message that is answered for this one. It ends `collected` in the same statement, unless it is in
-- work itself and gives way to a newer one: then it goes nowhere but to that end, as one that is cancelled does (0011).

ALTER TABLE inbound_messages ADD COLUMN collected_into uuid,
  ADD COLUMN steers_worker uuid,     -- the running worker that it was shown to
  ADD COLUMN steers_before integer;  -- before which response of its model: a retry shows it at the same place
CREATE INDEX inbound_messages_collected ON inbound_messages (collected_into) WHERE collected_into IS NOT NULL;
GRANT UPDATE (collected_into, steers_worker, steers_before) ON inbound_messages TO empla_employee;

INSERT INTO state_edges VALUES ('message', 'merging', 'merge', 'collected', '', 'employee');

CREATE TRIGGER interrupted_ends BEFORE UPDATE OF processing_state ON inbound_messages FOR EACH ROW
  WHEN (NEW.collected_into IS NOT NULL AND current_employee() IS NOT NULL AND OLD.processing_state <> NEW.processing_state
    AND OLD.processing_state IN ('received', 'analyzing', 'working', 'merging')
    AND NEW.processing_state NOT IN ('collected', 'withheld'))
  EXECUTE FUNCTION skip_update();
