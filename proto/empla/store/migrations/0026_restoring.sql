-- What was restored from a backup.
--
-- After the backup was taken, the installation that it was taken of has gone on: it may have done and sent what a restored database
-- knows nothing of. `restored_at` is set on the messages that had not come to their end by then. What the employee still wants to do
-- for one of them that can be done only once, and what is still to leave for it, a person decides about. It is set on the launch
-- as well, for what is begun later and was due before: runs of schedules, and steps of plans.

ALTER TABLE inbound_messages ADD COLUMN restored_at timestamptz;
ALTER TABLE employee_epochs ADD COLUMN restored_at timestamptz;
