"""SQL Server and Azure SQL, by Microsoft's ODBC driver."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors import entra
from fuse_dagster.connectors.databases.by_odbc import OdbcDatabase
from fuse_dagster.connectors.databases.dialects import MSSQL, Dialect
from fuse_dagster.connectors.databases.odbc import OdbcSystem, address, closed_if_it_fails, connected, refuse_missing
from fuse_dagster.connectors.databases.sqlserver import SQL_COPT_SS_ACCESS_TOKEN, SqlServerByOdbc, packed
from fuse_dagster.connectors.object_store import looked_up, name_problems

if TYPE_CHECKING:
    from fuse_dagster.connectors.declaring import Problem

SCOPE = "https://database.windows.net/.default"
"""What tokens are asked for: those of Azure SQL's audience."""
_SCOPES = {
    ".chinacloudapi.cn": "https://database.chinacloudapi.cn/.default",
    ".usgovcloudapi.net": "https://database.usgovcloudapi.net/.default",
}
_FIELDS = {
    "server": "host", "addr": "host", "address": "host", "networkaddress": "host", "database": "database",
    "encrypt": "encrypt", "trustservercertificate": "trust_server_certificate",
}  # fmt: skip


class SQLServer(OdbcDatabase):
    """A database of SQL Server or Azure SQL.

    Without a user and a password it logs in by Entra ID: as a service principal, a managed identity, or whatever
    Azure's own tools find.

    Examples:
        >>> SQLServer(host="shop.database.windows.net", database="shop").place
        'mssql://shop.database.windows.net:1433/shop'
    """

    type: Literal["mssql"] = "mssql"
    host: str = Field(description="The server's name or address.")
    port: int = Field(default=1433, description="Where the server listens; that of an instance, where it has several.")
    database: str = Field(description="The database. It has to be there already.")
    user: str = Field(default="", description="Of a login by SQL Server itself; without it Entra ID says who it is.")
    password: str = secrets.secret_field(description="The password of that login.")
    tenant_id: str = Field(default="", description=entra.TENANT)
    client_id: str = Field(default="", description=entra.CLIENT)
    client_secret: str = secrets.secret_field(description=entra.SECRET)
    login: Literal["default", "managed_identity", "cli"] = Field(default="default", description=entra.LOGIN)
    authority: str = Field(default="", description=entra.AUTHORITY_IS)
    encrypt: Literal["yes", "strict", "no"] = Field(
        default="yes", description="Whether to encrypt; `strict` does so from the first byte, by TDS 8.0."
    )
    trust_server_certificate: bool = Field(
        default=False, description="Take any certificate: for a server of one's own that has none which is signed."
    )
    driver: str = Field(
        default="ODBC Driver 18 for SQL Server", description="The driver's name, as `odbcinst -q -d` lists it."
    )

    dialect: ClassVar[Dialect] = MSSQL
    extra: ClassVar[str] = "mssql"
    checks: ClassVar[Mapping[str, str]] = {
        "host": "Check `host` and `port`, DNS, that it runs, and firewalls: Azure SQL lets in whom its own one names.",
        "credentials": "Check `user` and `password`; or `tenant_id`, `client_id` and `client_secret`, or `login`, and "
        "that the database has a user for it (CREATE USER ... FROM EXTERNAL PROVIDER).",
        "database": "Check `database` for a typing error, and that the login may enter it.",
        "certificate": "Check `encrypt` and `trust_server_certificate`, and the authorities that this machine trusts.",
        "driver": "Check `driver`; `odbcinst -q -d` lists what is there.",
        "time": "Check `host` and `port`, and firewalls; raise `connect_timeout`: Azure SQL may have to wake up first.",
    }

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> "list[Problem]":
        """A host by its name alone, one way to log in, and all of it."""
        from fuse_dagster.connectors.declaring import Problem

        found = super().problems(given) + name_problems(given, "host") + entra.problems(given, "user")
        if bool(given["user"]) != bool(given["password"]):
            lacks = "password" if given["user"] else "user"
            found.append(Problem(lacks, "A login by SQL Server itself has a `user` and a `password`. Give both."))
        for name in ("host", "database"):
            if isinstance(given[name], str) and set(given[name]) & set(",;{}="):
                found.append(Problem(name, "It is no name. Valid: one without `,`, `;`, `=` and braces."))
        for name in given["attributes"] if isinstance(given["attributes"], Mapping) else ():
            if field := _FIELDS.get(str(name).replace(" ", "").lower()):
                found.append(Problem("attributes", f"`{name}` is said by the field `{field}`."))
        return found

    @property
    def address(self) -> str:
        """Host, port and database."""
        return f"mssql://{looked_up(self.host)}:{self.port}/{looked_up(self.database)}"

    @property
    def place(self) -> str:
        """Host, port and database."""
        return self.address

    @property
    def speaks(self) -> OdbcSystem:
        """What is known of SQL Server."""
        return SqlServerByOdbc()

    def connect(self, *, writing: bool = False) -> Any:
        """Log in; what is read is never committed."""
        refuse_missing(self.driver)
        connection = connected(
            self._login(),
            seconds=self.statement_timeout,
            login=self.connect_timeout,
            writing=writing,
            before=None if self.user else {SQL_COPT_SS_ACCESS_TOKEN: packed(self._token())},
        )
        with closed_if_it_fails(connection):
            self.speaks.begin(connection, writing=writing, seconds=self.statement_timeout)
        return connection

    def _login(self) -> str:
        """The connection string, with the password where there is one: never shown."""
        there = {name.lower() for name in self.attributes}
        said = {
            "DRIVER": self.driver,
            "SERVER": f"tcp:{looked_up(self.host)},{self.port}",
            "DATABASE": looked_up(self.database),
            "Encrypt": self.encrypt,
            "TrustServerCertificate": "yes" if self.trust_server_certificate else "no",
            **self.speaks.attributes,
        }
        own = {name: value for name, value in said.items() if name.lower() not in there}
        who = {"UID": looked_up(self.user), "PWD": secrets.resolve(self.password)} if self.user else {}
        return address(own | self.told_attributes | who)

    def _token(self) -> str:
        """A token for the database; Azure's library keeps it until shortly before it runs out.

        Raises:
            FuseError: A secret can't be resolved, or there is no login.
        """
        host = looked_up(self.host).rstrip(".").lower()
        scope = next((scope for end, scope in _SCOPES.items() if host.endswith(end)), SCOPE)
        return entra.access(self, scope).token
