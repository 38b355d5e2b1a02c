"""The sandbox around programs: nsjail, its configuration, its cgroups, and what runs as PID 1 in it."""
