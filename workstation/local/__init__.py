"""The workstation in this process, on this machine."""
