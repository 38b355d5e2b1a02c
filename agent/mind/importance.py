"""How important an episode is: by what it led to, without asking a model. The less, the sooner it fades."""

from collections.abc import Mapping
from uuid import UUID

from empla.store.connect import AnyConnection, load_queries

SQL = load_queries("agent.mind", "importance.sql")
LEAST, BY_A_PERSON, BELIEVED, ACTED = 0.1, 0.2, 0.3, 0.2


async def importances(
    connection: AnyConnection, employee_id: UUID, by_a_person: Mapping[str, bool]
) -> Mapping[str, float]:
    """The importance, from 0 to 1, of the episode of each source, such as message:<id>, and whether a person asked in it."""
    rows = await connection.fetch(SQL.consequences, employee_id, list(by_a_person))
    return {
        row["source"]: LEAST
        + BY_A_PERSON * by_a_person[row["source"]]
        + BELIEVED * row["believed"]
        + ACTED * row["acted"]
        for row in rows
    }
