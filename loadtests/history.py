"""A database with a past: answered messages with all rows that belong to them, written by SQL instead of lived through."""

from empla.store.connect import connect_once, load_queries

SQL = load_queries("loadtests", "history.sql")
MESSAGES_A_CONVERSATION = 20
AT_ONCE = 100_000
_ROWS = ("messages", "bodies", "workers", "attempts", "replies", "events")


async def fill(superuser_dsn: str, messages: int) -> None:
    """Store `messages` that were answered long ago, spread over the conversations of every employee of every tenant.

    Each tenant needs a channel. Afterwards the tables are vacuumed and analyzed and their pages written, so that what is
    measured next pays for none of it. Takes about a minute for 250,000.
    """
    async with connect_once(superuser_dsn, application_name="bench history", command_timeout=None) as connection:
        # Triggers and foreign keys check what the system writes; they would be most of the time that this takes.
        await connection.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        await connection.execute(SQL.conversations, max(1, messages // MESSAGES_A_CONVERSATION))
        for start in range(0, messages, AT_ONCE):
            async with connection.transaction():
                await connection.execute(SQL.past, min(AT_ONCE, messages - start))
                for rows in _ROWS:
                    await connection.execute(SQL[rows])
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")
