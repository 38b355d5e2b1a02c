"""`python -m loadtests.quarter`: three months of a small staff in some minutes, and what must be true of them at the end."""
