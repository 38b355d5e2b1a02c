"""The message pipeline: durable steps from a claimed message to a reply in the outbox."""
