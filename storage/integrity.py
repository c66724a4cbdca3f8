"""What can be wrong with a store, and the sentences that say it."""
import duckdb
from storage.events import Events
from storage.shards import Shards
def faults(connection: duckdb.DuckDBPyConnection, shards: Shards, events: Events) -> list[str]:
    return []
