"""Browser over gRPC."""
