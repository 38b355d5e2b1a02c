"""Files, sandboxed compute and a browser: interfaces, local implementations, gRPC clients and servicers."""
