"""Snowflake, by its own driver: answers come as Arrow, rows go as Parquet through a stage."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors.database import Database, TableColumn
from fuse_dagster.connectors.databases.asking import refuse_changes
from fuse_dagster.connectors.databases.dialects import SNOWFLAKE, Dialect
from fuse_dagster.connectors.databases.failures import by_state
from fuse_dagster.connectors.databases.snowflake_types import converted, schema_of
from fuse_dagster.connectors.declaring import Problem, in_the_clear, texts
from fuse_dagster.connectors.object_store import is_plain, looked_up, name_problems
from fuse_dagster.core.errors import ConfigError, InputError, first_line

if TYPE_CHECKING:
    import pyarrow as pa

_TABLES = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema <> 'INFORMATION_SCHEMA'"
_BEGUN = 30
"""Seconds beyond the statement's own limit after which the driver gives up an answer that doesn't come."""
_LOGIN = 250001
_CODES = {
    604: "slow", 630: "slow", 625: "busy", 606: "rights", 904: "column", 1003: "syntax", 2003: "table", 2043: "table",
    3001: "rights", 2049: "rights", _LOGIN: "host", 250003: "host", 253003: "host", 8: "syntax",
}  # fmt: skip
_LOGINS = range(390100, 390500)
"""https://docs.snowflake.com/en/user-guide/client-connectivity-troubleshooting, and the drivers' own tables."""
_NEEDS = {
    "snowflake": ("user", "password"),
    "snowflake_jwt": ("user", "private_key"),
    "oauth": ("token",),
    "programmatic_access_token": ("token",),
    "externalbrowser": ("user",),
}


class Snowflake(Database):
    """A database of Snowflake.

    Names are those of the catalogue: Snowflake writes names without quotes in capital letters, so that what its SQL
    calls `flights` is `FLIGHTS` here.

    Examples:
        >>> Snowflake(account="acme-prod", user="LOADER", private_key="env://KEY", database="SHOP").place
        'snowflake://acme-prod/SHOP'
    """

    type: Literal["snowflake"] = "snowflake"
    account: str = Field(description="The account's identifier, as `organization-account`.")
    user: str = Field(default="", description="The user to log in as; with OAuth it may be left out.")
    password: str = secrets.secret_field(description="The user's password, where it is one of the few that still may.")
    private_key: str = secrets.secret_field(
        description="The user's key, which machines log in by: the path of its PEM file, or a reference to the PEM."
    )
    private_key_passphrase: str = secrets.secret_field(description="The passphrase, where the key has one.")
    token: str = secrets.secret_field(description="A token of OAuth, or a programmatic access token.")
    authenticator: str = Field(
        default="",
        description="How to log in, where what is given doesn't say it: `snowflake`, `snowflake_jwt`, `oauth`, "
        "`programmatic_access_token`, `externalbrowser`, or the https address of an Okta.",
    )
    role: str = Field(default="", description="The role to take; else the user's own.")
    warehouse: str = Field(default="", description="The warehouse that works, and costs; else the user's own.")
    database: str = Field(description="The database. It has to be there already.")
    default_schema: str = Field(default="PUBLIC", description="The schema of tables that are named without one.")
    endpoint: str = Field(
        default="", description="Address for PrivateLink or a test, as `https://host`; else made of `account`."
    )

    dialect: ClassVar[Dialect] = SNOWFLAKE
    extra: ClassVar[str] = "snowflake"
    longest_path: ClassVar[int] = 3
    checks: ClassVar[Mapping[str, str]] = {
        "host": "Check `account` and `endpoint`, DNS, firewalls and proxies.",
        "credentials": "Check `user` and the key with its passphrase, the token or password, `authenticator`, and the "
        "network policy; the public key has to be set for the user.",
        "rights": "Name a `role` that may, and a `warehouse`; or grant USAGE on warehouse, database and schema, and "
        "SELECT on the table.",
        "table": "Names are as the catalogue has them, mostly in capital letters; list them to see what there is.",
    }

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """Names, and one way to log in."""
        found = super().problems(given) + name_problems(given, "account") + in_the_clear(given, "endpoint")
        ways = texts(given, ("password", "private_key", "token"))
        said = given.get("authenticator")
        if isinstance(said, str) and said and is_plain(said) and not said.startswith("https://"):
            if said not in _NEEDS:
                found.append(Problem("authenticator", f"`{said}` is none. Valid: {', '.join(_NEEDS)}, or https://..."))
            needed = _NEEDS.get(said, ())
            found += [Problem(one, f"`authenticator: {said}` needs it.") for one in needed if not given.get(one)]
            more = [one for one in ways if one not in needed] if said in _NEEDS else []
            found += [Problem(one, f"`authenticator: {said}` takes none. Leave it out.") for one in more]
        elif not said and len(ways) != 1:
            found.append(Problem("private_key", "Give one of `private_key`, `token` and `password`, and not several."))
        elif not said and ways != ["token"] and not given.get("user"):
            found.append(Problem("user", f"`{ways[0]}` needs it."))
        if given.get("private_key_passphrase") and "private_key" not in ways:
            found.append(Problem("private_key", "`private_key_passphrase` is given without it."))
        return found

    @property
    def place(self) -> str:
        """Account and database."""
        return f"snowflake://{looked_up(self.account)}/{looked_up(self.database)}"

    def connect(self, *, writing: bool = False) -> Any:
        """Log in. There is no read-only transaction: what doesn't read is refused before it is sent."""
        import snowflake.connector as driver

        del writing
        return driver.connect(**self.arguments())

    def arguments(self) -> dict[str, Any]:
        """What the driver's `connect` is given, with secrets that are resolved now.

        Raises:
            FuseError: A secret can't be resolved, or the key file is not there.
        """
        patience = max(1, round(self.connect_timeout))
        said: dict[str, Any] = {
            "account": looked_up(self.account), "user": looked_up(self.user), "role": looked_up(self.role),
            "warehouse": looked_up(self.warehouse), "database": looked_up(self.database),
            "schema": looked_up(self.default_schema), "application": "fuse_dagster",
        }  # fmt: skip
        fixed: dict[str, Any] = {
            "autocommit": False, "paramstyle": "qmark", "arrow_number_to_decimal": True,
            "enable_server_session_keep_alive_auto_detection": False, "login_timeout": patience,
            "connect_timeout": patience, "query_timeout": round(self.statement_timeout) + _BEGUN,
            "session_parameters": {
                "TIMEZONE": "UTC", "CLIENT_TELEMETRY_ENABLED": False, "MULTI_STATEMENT_COUNT": 1,
                "STATEMENT_TIMEOUT_IN_SECONDS": max(1, round(self.statement_timeout)),
            },
        }  # fmt: skip
        return {name: value for name, value in said.items() if value} | fixed | self._login() | self._address()

    def version(self, connection: Any) -> str:
        """Say what answers, as `Snowflake 9.20.1`."""
        return f"Snowflake {_fetched(connection, 'SELECT CURRENT_VERSION()')[0][0]}"

    def tables(self, connection: Any) -> Iterator[tuple[str, ...]]:
        """Yield schemas and names of the tables and views in the database."""
        for schema, name in _fetched(connection, _TABLES):
            yield str(schema), str(name)

    def described(self, connection: Any, parts: Sequence[str]) -> Sequence[TableColumn]:
        """The columns of a table; the system needs no warehouse to say them."""
        path = self.dialect.path(parts)
        try:
            found = _named(connection, f"DESCRIBE TABLE {path}")
        except Exception as error:
            if (self.told(error) or ("", ""))[0] == "table":
                return []
            raise
        keyed = any(row["primary key"] == "Y" for row in found)
        keys = _named(connection, f"SHOW PRIMARY KEYS IN TABLE {path}") if keyed else []
        places = {row["column_name"]: int(row["key_sequence"]) for row in keys}
        return [
            TableColumn(
                name=row["name"], type=row["type"], nullable=row["null?"] == "Y", key=places.get(row["name"], 0)
            )
            for row in found
        ]

    @contextmanager
    def stream(
        self, connection: Any, text: str, values: Sequence[Any], *, declared: Mapping[str, str]
    ) -> "Iterator[pa.RecordBatchReader]":
        """Read an answer chunk by chunk, as the driver fetches them."""
        import pyarrow as pa
        from snowflake.connector.constants import FIELD_ID_TO_NAME  # type: ignore[attr-defined]  # it is for others

        del declared
        refuse_changes(self.dialect, text)
        with closing(connection.cursor()) as cursor:
            cursor.execute(text, list(values) or None)
            if cursor.description is None:
                raise InputError("A statement that returns rows is expected: reading changes nothing.")
            kinds = [FIELD_ID_TO_NAME[column.type_code] for column in cursor.description]
            schema = schema_of(cursor.description, kinds)
            tables = cursor.fetch_arrow_batches(force_microsecond_precision=False)
            yield pa.RecordBatchReader.from_batches(schema, converted(tables, schema, kinds))

    def told(self, error: Exception) -> tuple[str | None, str] | None:
        """By Snowflake's numbers, and by SQLSTATE."""
        import snowflake.connector.errors as theirs

        if not isinstance(error, theirs.Error):
            return None
        said = first_line(Exception(getattr(error, "raw_msg", None) or error.msg or ""))
        number = error.errno
        from_line = isinstance(error, theirs.OperationalError | theirs.InterfaceError)
        if number in _LOGINS or (number == _LOGIN and not from_line):  # a key that is none doesn't leave the machine
            return "credentials", ""
        kind = _CODES.get(number) or by_state(error.sqlstate)
        if kind is None and from_line:
            kind = "host"
        if kind is None and isinstance(error, theirs.InternalError):  # as an answer that is none of Snowflake's
            kind = "cut"
        return kind or ("value" if isinstance(error, theirs.DatabaseError) else None), said

    def _login(self) -> dict[str, Any]:
        login: dict[str, Any]
        if self.private_key:
            login = {"authenticator": "SNOWFLAKE_JWT", "private_key": _pem(secrets.resolve(self.private_key))}
            if self.private_key_passphrase:
                login["private_key_password"] = secrets.resolve(self.private_key_passphrase)
        elif self.token:
            login = {"authenticator": "OAUTH", "token": secrets.resolve(self.token)}
        else:
            login = {"password": secrets.resolve(self.password)} if self.password else {}
        said = looked_up(self.authenticator)
        # Only people, who would have to look into a browser each time, have the driver keep what they logged in by.
        login["client_store_temporary_credential"] = said == "externalbrowser"
        return login | ({"authenticator": said if said.startswith("https://") else said.upper()} if said else {})

    def _address(self) -> dict[str, Any]:
        if not self.endpoint:
            return {}
        found = urlsplit(looked_up(self.endpoint))
        if found.scheme not in {"http", "https"} or not found.hostname:
            raise ConfigError("`endpoint` is no address. Give one as `https://host`.")
        return {"protocol": found.scheme, "host": found.hostname} | ({"port": found.port} if found.port else {})


def _pem(text: str) -> str:
    """The key itself, where its file is named."""
    if "-----BEGIN" in text:
        return text
    try:
        return Path(text).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # what is no path may be a secret, so it is not shown
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no path"
        msg = f"The key file that `private_key` names can't be read ({reason}). Give its path, or a reference."
        raise ConfigError(msg) from None


def _fetched(connection: Any, text: str) -> list[tuple[Any, ...]]:
    with closing(connection.cursor()) as cursor:
        cursor.execute(text)
        return list(cursor.fetchall())


def _named(connection: Any, text: str) -> list[dict[str, Any]]:
    with closing(connection.cursor()) as cursor:
        cursor.execute(text)
        names = [column.name.lower() for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
