"""A workstation in another process: its Protocols over gRPC, clients and servicers."""
