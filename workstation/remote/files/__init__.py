"""FileSystem over gRPC."""
