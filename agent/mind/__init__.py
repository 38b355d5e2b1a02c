"""What an employee believes, and how that changes with what it perceives."""
