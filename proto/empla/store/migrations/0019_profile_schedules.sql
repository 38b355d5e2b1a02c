-- Schedules that a profile brings: they come, change and end with it. An employee cannot make one of these: it may not write this column.
ALTER TABLE schedules ADD COLUMN of_profile boolean NOT NULL DEFAULT false;
