"""Whether a statement does more than to read the allowed tables, told by SQLite itself and by parsers of others."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.integration.attacks.foreign_packages import ForeignPackages

ALLOWED = ("items", "orders")
_SECONDS = 100
_SCHEMA = "; ".join(
    f"CREATE TABLE {table} (id INTEGER, name TEXT, status TEXT, password TEXT, total REAL)"
    for table in (*ALLOWED, "secrets", "users")
)
_HARMLESS_ACTIONS = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE)
_SPYING = re.compile(
    r"(?i)(?:pg_catalog\.|dbo\.)?(?:"
    r"(?:current_|session_|system_)?user(?:_name)?|current_(?:role|catalog|schema|database|setting|account|warehouse|query)"
    r"|session_user|user_name|suser_\w+|db_name|db_id|host_name|app_name|schema_name|object_(?:id|name|definition)"
    r"|database|schema|version|sqlite_(?!version$)\w+|sqlite_version|connection_id|last_insert_id|row_count|found_rows"
    r"|uuid_short|server_?property|has_\w+|is_(?:srvrole)?member|to_reg\w+|reg(?:class|proc|procedure|role|namespace|type)"
    r"|(?:pg|lo|dblink|inet_(?:client|server)|xp|sp|fn|sys|dbms|utl|ctxsys)_\w+|(?:sys|dbms|utl|ctxsys|system\$)\S*"
    r"|query_to_xml\w*|(?:table|schema|database|cursor)_to_xml\w*|xmltype|extractvalue|updatexml|name_const|xpath\w*"
    r"|sleep|benchmark|waitfor|(?:get|release|is_free|is_used)_lock|load_file|load_extension|readfile|writefile|edit"
    r"|randomblob|zeroblob|fts\d_tokenizer|set_config|setval|nextval|currval|txid_\w+|open(?:rowset|query|datasource|xml)"
    r"|external_query|get_ddl|result_scan|identifier|eval|crypt_key|regexp_substring|make_set|procedure|analyse"
    r"|@@.*)"
)


@cache
def _database() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:")
    database.executescript(_SCHEMA)
    return database


def danger_to_sqlite(statement: str) -> str | None:
    """What SQLite's authorizer hears of beside reads of the allowed tables; None if nothing, or it is no statement."""
    heard: list[str] = []

    def authorize(action: int, first: str | None, second: str | None, *_: object) -> int:
        harmless = (
            action in _HARMLESS_ACTIONS
            or (action == sqlite3.SQLITE_READ and first in (*ALLOWED, ""))
            or (action == sqlite3.SQLITE_FUNCTION and not _SPYING.fullmatch(str(second)))
        )
        if not harmless:
            heard.append(f"action {action}: {first} {second}")
        return sqlite3.SQLITE_OK

    database = _database()
    database.set_authorizer(authorize)
    try:
        database.execute(f"EXPLAIN {statement}").close()
    except (sqlite3.Error, sqlite3.Warning) as error:
        if "one statement" in str(error):
            return str(error)
    return "; ".join(heard) or None


def dangers(statements: Sequence[tuple[str, str]], packages: ForeignPackages) -> list[tuple[str, str, str]]:
    """Server, statement and why, of those that do more than to read the allowed tables on that server."""
    seen = _parsed([pair for pair in statements if pair[0] != "SQLite"], packages)
    found = []
    for server, statement in statements:
        danger = danger_to_sqlite(statement) if server == "SQLite" else _danger_in(next(seen))
        if danger:
            found.append((server, statement, danger))
    return found


def _parsed(statements: Sequence[tuple[str, str]], packages: ForeignPackages) -> Any:
    script = Path(__file__).with_name("sql_parsers.py")
    done = subprocess.run(
        [packages.python, "-I", script],
        input=json.dumps(statements),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=True,
    )
    return iter(json.loads(done.stdout))


def _danger_in(facts: dict[str, Any] | None) -> str | None:
    if facts is None:
        return None
    if facts["kinds"] not in (["SelectStmt"], ["Query"]):
        return f"is {facts['kinds']}"
    own = {name.lower() for name in facts["own"]}
    tables = [table for table in facts["tables"] if not (len(table) == 1 and table[0].lower() in own)]
    strange = [
        table for table in tables if table[-1].lower() not in ALLOWED or table[:-1] not in ([], ["public"], ["dbo"])
    ]
    calls = [call for call in facts["calls"] if _SPYING.fullmatch(call)]
    return f"reads {strange}" if strange else f"calls {calls}" if calls else None
