"""The database: schema migrations, connections, and the embedded server."""
