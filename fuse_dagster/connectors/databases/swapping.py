"""A full table takes the name of another one in a moment; what can't be carried over is refused, by name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.databases.staging import PREFIX
from fuse_dagster.core.errors import ConfigError, ConflictError
from fuse_dagster.core.naming import listing

if TYPE_CHECKING:
    from fuse_dagster.connectors.databases.fitting import Fit
    from fuse_dagster.connectors.databases.links import Link

PATIENCE = 60
"""Seconds to wait for another writer of the same table."""

_LOST_POSTGRES = """
WITH t AS (SELECT c.* FROM pg_class c WHERE c.oid = to_regclass($1))
SELECT format('it is no plain table, but a %s', CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
  WHEN 'f' THEN 'foreign table' ELSE 'partitioned table' END) FROM t WHERE relkind <> 'r'
UNION ALL SELECT DISTINCT format('the view %s', r.ev_class::regclass) FROM t
  JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid AND d.classid = 'pg_rewrite'::regclass
  JOIN pg_rewrite r ON r.oid = d.objid WHERE r.ev_class <> t.oid
UNION ALL SELECT format('the rule %s', r.rulename) FROM t JOIN pg_rewrite r ON r.ev_class = t.oid AND t.relkind = 'r'
UNION ALL SELECT format('the foreign key %s of %s', k.conname, k.conrelid::regclass) FROM t
  JOIN pg_constraint k ON k.contype = 'f' AND t.oid IN (k.conrelid, k.confrelid)
UNION ALL SELECT format('the trigger %s', g.tgname) FROM t JOIN pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal
UNION ALL SELECT format('the policy %s', p.polname) FROM t JOIN pg_policy p ON p.polrelid = t.oid
UNION ALL SELECT 'its row level security' FROM t WHERE relrowsecurity
UNION ALL SELECT format('the inheritance of %s from %s', i.inhrelid::regclass, i.inhparent::regclass) FROM t
  JOIN pg_inherits i ON t.oid IN (i.inhrelid, i.inhparent)
UNION ALL SELECT format('the publication %s', p.pubname) FROM t
  JOIN pg_publication_rel r ON r.prrelid = t.oid JOIN pg_publication p ON p.oid = r.prpubid
UNION ALL SELECT format('the counter of the column %s', a.attname) FROM t
  JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid AND d.deptype IN ('a', 'i')
  JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' AND d.classid = 'pg_class'::regclass
  JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
UNION ALL SELECT format('the rights on the column %s', a.attname) FROM t
  JOIN pg_attribute a ON a.attrelid = t.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped
"""
# Each row is a statement that brings a property of the old table ($1) to the new one ($2).
_CARRY_POSTGRES = """
SELECT format('ALTER TABLE %s OWNER TO %I', $2::regclass, pg_get_userbyid(relowner)) FROM pg_class
  WHERE oid = $1::regclass AND pg_get_userbyid(relowner) <> current_user
UNION ALL SELECT format('ALTER TABLE %s SET (%s)', $2::regclass, array_to_string(reloptions, ', ')) FROM pg_class
  WHERE oid = $1::regclass AND reloptions IS NOT NULL
UNION ALL SELECT format('ALTER TABLE %s SET UNLOGGED', $2::regclass) FROM pg_class
  WHERE oid = $1::regclass AND relpersistence = 'u'
UNION ALL SELECT format('COMMENT ON TABLE %s IS %L', $2::regclass, obj_description($1::regclass, 'pg_class'))
  WHERE obj_description($1::regclass, 'pg_class') IS NOT NULL
UNION ALL SELECT format('REVOKE ALL ON TABLE %s FROM %I', $2::regclass, pg_get_userbyid(relowner)) FROM pg_class
  WHERE oid = $1::regclass AND relacl IS NOT NULL
UNION ALL SELECT format('GRANT %s ON TABLE %s TO %s%s', a.privilege_type, $2::regclass,
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
    CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = $1::regclass
"""
_NAMES_POSTGRES = """
SELECT n.nspname::text, old.relname::text, new.relname::text FROM (
  SELECT c.relname, c.relnamespace, i.definition, row_number() OVER (PARTITION BY i.definition ORDER BY c.oid)
  FROM ({indexes}) i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = $1::regclass) old
JOIN (
  SELECT c.relname, i.definition, row_number() OVER (PARTITION BY i.definition ORDER BY c.oid)
  FROM ({indexes}) i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = $2::regclass) new
  USING (definition, row_number)
JOIN pg_namespace n ON n.oid = old.relnamespace
""".replace(
    "{indexes}",
    """SELECT x.indexrelid, x.indrelid, concat_ws('|', x.indisunique, x.indisprimary, c.relam,
         pg_get_expr(x.indpred, x.indrelid), x.indclass, x.indoption,
         (SELECT string_agg(pg_get_indexdef(x.indexrelid, k, true), ',' ORDER BY k)
          FROM generate_series(1, x.indnatts) k)) AS definition
       FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid""",
)
_LOST_MYSQL = """
SELECT CONCAT('the foreign key ', constraint_name, ' of ', table_name) FROM information_schema.key_column_usage
WHERE (constraint_schema = COALESCE(%s, DATABASE()) AND table_name = %s AND referenced_table_name IS NOT NULL)
   OR (referenced_table_schema = COALESCE(%s, DATABASE()) AND referenced_table_name = %s)
UNION SELECT CONCAT('the trigger ', trigger_name) FROM information_schema.triggers
WHERE event_object_schema = COALESCE(%s, DATABASE()) AND event_object_table = %s
UNION SELECT 'it is no plain table, but a view' FROM information_schema.tables
WHERE table_schema = COALESCE(%s, DATABASE()) AND table_name = %s AND table_type <> 'BASE TABLE'
"""


def swapped(link: Link, table: Sequence[str], fits: Sequence[Fit], batches: Iterator[Any]) -> int:
    """Fill a table beside another one, and put it in its place.

    Args:
        link: The connection. Where changes of tables are part of a transaction, that is left open.
        table: The table's name.
        fits: The columns.
        batches: The rows.

    Returns:
        How many rows.

    Raises:
        ConfigError: Something about the table would be lost.
    """
    return _SWAPS[link.dialect.name](link, table, fits, batches)


def can_swap(link: Link, fits: Sequence[Fit]) -> bool:
    """Whether the system has a table take another one's place in a moment; the others empty and fill it."""
    # The binary form of some types is only made by the system itself.
    plain = not (link.exact and any(fit.kind.family == "other" for fit in fits))
    return link.dialect.name in _SWAPS and plain


def _in_postgres(link: Link, table: Sequence[str], fits: Sequence[Fit], batches: Iterator[Any]) -> int:
    path = link.path(table)

    def said(text: str, *values: str) -> list[tuple[Any, ...]]:
        return link.ask(*_bound(link, text, values))

    said("SELECT pg_advisory_xact_lock(hashtextextended('fuse_dagster ' || $1, 0))::text", path)
    _refuse_lost(path, [row[0] for row in said(_LOST_POSTGRES, path)])
    schema = said("SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                  "WHERE c.oid = to_regclass($1)", path)[0][0]  # fmt: skip
    new, old = [schema, _beside(table, "new")], [schema, table[-1]]
    link.run(f"CREATE TABLE {link.path(new)} (LIKE {link.path(old)} INCLUDING ALL)")
    rows = link.load(new, batches, fits)
    link.run(f"LOCK TABLE {link.path(old)} IN ACCESS EXCLUSIVE MODE")
    _refuse_lost(path, [row[0] for row in said(_LOST_POSTGRES, path)])
    for (statement,) in said(_CARRY_POSTGRES, link.path(old), link.path(new)):
        link.run(statement)
    indexes = said(_NAMES_POSTGRES, link.path(old), link.path(new))
    link.run(f"DROP TABLE {link.path(old)}")
    link.run(f"ALTER TABLE {link.path(new)} RENAME TO {link.quoted(table[-1])}")
    for place, before, now in indexes:
        if before != now:
            link.run(f"ALTER INDEX {link.path([place, now])} RENAME TO {link.quoted(before)}")
    return rows


def _in_mysql(link: Link, table: Sequence[str], fits: Sequence[Fit], batches: Iterator[Any]) -> int:
    schema, name = (table[0] if len(table) > 1 else None), table[-1]
    new, old = [*table[:-1], _beside(table, "new")], [*table[:-1], _beside(table, "old")]
    with alone(link, table, PATIENCE) as is_alone:
        if not is_alone:
            raise ConflictError(f"Another writer replaces {link.path(table)} for {PATIENCE} s already. Run this again.")
        sweep(link, table)
        _refuse_lost(link.path(table), [row[0] for row in link.ask(_LOST_MYSQL, [schema, name] * 4)])
        link.run(f"CREATE TABLE {link.path(new)} LIKE {link.path(table)}")
        rows = link.load(new, batches, fits)
        link.commit()
        counter = link.ask(
            "SELECT auto_increment FROM information_schema.tables "
            "WHERE table_schema = COALESCE(%s, DATABASE()) AND table_name = %s",
            [schema, name],
        )[0][0]
        if counter:
            link.run(f"ALTER TABLE {link.path(new)} AUTO_INCREMENT = {int(counter)}")
        link.in_doubt = True  # it commits by itself
        link.run(f"RENAME TABLE {link.path(table)} TO {link.path(old)}, {link.path(new)} TO {link.path(table)}")
        link.run(f"DROP TABLE {link.path(old)}")
    return rows


_SWAPS = {"postgres": _in_postgres, "mysql": _in_mysql}


@contextmanager
def alone(link: Link, table: Sequence[str], seconds: int) -> Iterator[bool]:
    """Whether no other writer of ours replaces the table now, and none will meanwhile; of MySQL.

    Args:
        link: The connection; its end, also by a crash, gives the place free.
        table: The table's name.
        seconds: How long to wait for another one.
    """
    # The name of a lock may have 64 signs, as many as that of a database alone.
    name, values = "SHA1(CONCAT(COALESCE(%s, DATABASE()), %s))", [_schema(table), _beside(table, "lock")]
    got = link.ask(f"SELECT GET_LOCK({name}, %s)", [*values, seconds])
    try:
        yield bool(got[0][0])
    finally:
        with suppress(Exception):  # a connection that broke off has given it free
            link.ask(f"SELECT RELEASE_LOCK({name})", values)


def sweep(link: Link, table: Sequence[str]) -> None:
    """Drop what a writer left that was killed; only where none is at work. Who may not leaves it to others."""
    left = link.ask(
        "SELECT table_name FROM information_schema.tables "
        "WHERE table_schema = COALESCE(%s, DATABASE()) AND table_name IN (%s, %s)",
        [_schema(table), _beside(table, "new"), _beside(table, "old")],
    )
    for (name,) in left:
        with suppress(Exception):  # a connection that broke off says so at the next statement
            link.run(f"DROP TABLE IF EXISTS {link.path([*table[:-1], name])}")


def _schema(table: Sequence[str]) -> str | None:
    return table[0] if len(table) > 1 else None


def _beside(table: Sequence[str], end: str) -> str:
    """A name that belongs to a table, of few signs whatever that one's name is."""
    return f"{PREFIX}{hashlib.sha256(table[-1].encode()).hexdigest()[:16]}_{end}"


def _refuse_lost(path: str, lost: Sequence[str]) -> None:
    if lost:
        raise ConfigError(
            f"{path} can't be swapped for a new table, which would not have: {listing(sorted(set(lost)))}. Nothing was "
            "written. Replace its rows by `truncate`, which keeps them, or drop them first."
        )


def _bound(link: Link, text: str, values: Sequence[str]) -> tuple[str, list[str]]:
    """A text with `$1` and `$2` in the driver's markers, and its values in their order."""
    import re

    if link.dialect.marker == "$1":
        return text, list(values)
    order: list[str] = []

    def put(found: re.Match[str]) -> str:
        order.append(values[int(found[1]) - 1])
        return link.dialect.mark(len(order))

    return re.sub(r"\$([12])", put, text), order
