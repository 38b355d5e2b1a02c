"""The contracts between the processes, and the few lines every service shares."""
