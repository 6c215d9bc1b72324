"""What two parsers that are none of ours see in statements; run by the interpreter that has them.

Reads a JSON list of pairs (server, statement) and writes a list as long: null where the parser of that server refuses
the text, else what the statement is and whom it calls. Postgres's parser is Postgres's own (`pglast`), those of the
others are from `sqlparser-rs` (`sqloxide`).
"""

from __future__ import annotations

import json
import sys

import pglast.parser
import sqloxide

_CHANGES = ("Insert", "Update", "Delete", "Merge")


def main() -> None:
    """Answer one list."""
    json.dump([_facts(server, text) for server, text in json.load(sys.stdin)], sys.stdout)


def _facts(server, text):
    facts = {"kinds": [], "tables": [], "own": [], "calls": []}
    try:
        if server == "Postgres":
            trees = json.loads(pglast.parser.parse_sql_json(text)).get("stmts", [])
            facts["kinds"] += [name for tree in trees for name in tree["stmt"]]
            _of_postgres(trees, facts)
        else:
            trees = sqloxide.parse_sql(sql=text, dialect=server.lower().replace("tsql", "mssql"))
            facts["kinds"] += [name for tree in trees for name in tree]
            _of_others(trees, facts)
    except (pglast.parser.ParseError, ValueError, UnicodeError):
        return None
    return facts


def _of_postgres(node, facts):
    for key, value in _members(node):
        if (key.endswith("Stmt") and key not in ("SelectStmt", "RawStmt")) or key in ("intoClause", "lockingClause"):
            facts["kinds"].append(key)
        elif key == "RangeVar":
            parts = (value.get("catalogname"), value.get("schemaname"), value["relname"])
            facts["tables"].append([part for part in parts if part])
        elif key == "ctename":
            facts["own"].append(value)
        elif key in ("funcname", "names"):
            facts["calls"].append(".".join(part["String"]["sval"] for part in value))
        elif key == "SQLValueFunction":
            facts["calls"].append(value["op"].removeprefix("SVFOP_"))
        _of_postgres(value, facts)


def _of_others(node, facts):
    for key, value in _members(node):
        if (key == "into" and value) or (key == "locks" and value) or (key in _CHANGES and isinstance(value, dict)):
            facts["kinds"].append(key)
        elif key == "Table" and isinstance(value, dict) and "name" in value:
            facts["calls" if value.get("args") else "tables"].append(_name(value["name"], called=value.get("args")))
        elif key == "cte_tables":
            facts["own"] += [cte["alias"]["name"]["value"] for cte in value]
        elif key == "Function":
            facts["calls"].append(_name(value["name"], called=True))
        elif key == "Identifier" and value["value"].startswith("@@"):
            facts["calls"].append(value["value"])
        _of_others(value, facts)


def _name(parts, *, called):
    names = [part["Identifier"]["value"] if "Identifier" in part else json.dumps(part) for part in parts]
    return ".".join(names) if called else names


def _members(node):
    if isinstance(node, dict):
        yield from node.items()
    elif isinstance(node, list):
        for item in node:
            yield from _members(item)


if __name__ == "__main__":
    main()
