-- A number that says whether what an employee keeps in mind of a conversation still holds.
--
-- An employee that has answered a message knows the turn without reading it. The number grows when a turn becomes another one by
-- whoever else: a reply is held, edited, withheld or let go after all, or a part of it follows. It comes with the claim of a message.

ALTER TABLE conversations ADD COLUMN context_version bigint NOT NULL DEFAULT 0;

-- With the owner's rights, for an employee may not write conversations; it reaches those of the row's own employee only.
CREATE FUNCTION context_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE public.conversations SET context_version = context_version + 1
  WHERE conversation_id = NEW.conversation_id AND employee_id = NEW.employee_id;
  RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION context_changed() FROM PUBLIC;

CREATE TRIGGER part_follows AFTER INSERT ON outbox FOR EACH ROW
  WHEN (NEW.kind = 'follow_up') EXECUTE FUNCTION context_changed();
CREATE TRIGGER text_changes AFTER UPDATE OF body ON outbox FOR EACH ROW EXECUTE FUNCTION context_changed();
CREATE TRIGGER turn_changes AFTER UPDATE OF state ON outbox FOR EACH ROW
  WHEN ((OLD.state IN ('queued', 'sending', 'sent')) <> (NEW.state IN ('queued', 'sending', 'sent')))
  EXECUTE FUNCTION context_changed();
-- From merging a message comes to be a turn by its employee, which knows.
CREATE TRIGGER turn_changes AFTER UPDATE OF processing_state ON inbound_messages FOR EACH ROW
  WHEN (OLD.processing_state <> 'merging'
    AND (OLD.processing_state IN ('sending', 'answered')) <> (NEW.processing_state IN ('sending', 'answered')))
  EXECUTE FUNCTION context_changed();
