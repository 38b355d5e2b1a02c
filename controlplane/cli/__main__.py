"""`python -m controlplane.cli` is the command `empla`."""

from controlplane.cli import main

main()
