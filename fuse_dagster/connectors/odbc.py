"""Any database that has an ODBC driver."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors.databases.by_odbc import OdbcDatabase
from fuse_dagster.connectors.databases.dialects import Dialect
from fuse_dagster.connectors.databases.modes import RowsMode, RowsWritten
from fuse_dagster.connectors.databases.odbc import (
    OdbcSystem,
    address,
    closed_if_it_fails,
    connected,
    driver_manager,
    refuse_missing,
)
from fuse_dagster.connectors.databases.odbc_postgres import PostgresByOdbc
from fuse_dagster.connectors.databases.odbc_standard import AnyByOdbc
from fuse_dagster.connectors.databases.sqlserver import SqlServerByOdbc
from fuse_dagster.connectors.declaring import Problem
from fuse_dagster.connectors.object_store import looked_up
from fuse_dagster.core.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

_SYSTEMS: Mapping[str, OdbcSystem] = {"postgres": PostgresByOdbc(), "mssql": SqlServerByOdbc(), "other": AnyByOdbc()}
_NAMES = {"postgres": "PostgreSQL", "mssql": "Microsoft SQL Server"}
_FIELDS = {"driver", "dsn", "filedsn", "savefile", "uid", "database", "server", "servername", "host", "port"}
_SERVERS = ("server", "servername", "host", "address")


class ODBC(OdbcDatabase):
    """A database that has an ODBC driver.

    Where a system has a connector of its own, that one reads faster and knows more of it.

    Examples:
        >>> ODBC(
        ...     driver="PostgreSQL Unicode",
        ...     system="postgres",
        ...     attributes={"SERVER": "db.example.com", "DATABASE": "shop"},
        ...     user="reader",
        ...     password="env://SHOP_PASSWORD",
        ... ).place
        'odbc://db.example.com/shop'
    """

    type: Literal["odbc"] = "odbc"
    driver: str = Field(default="", description="The driver's name, as `odbcinst -q -d` lists it, or its file.")
    dsn: str = Field(
        default="", description="Instead of the driver: a data source of `odbc.ini`, which says the driver and more."
    )
    system: Literal["postgres", "mssql", "other"] = Field(
        default="other",
        description="Which SQL the other side speaks. `other` is read alone, by the standard's SQL, and its types are "
        "those that the driver says.",
    )
    user: str = Field(default="", description="Who logs in, where neither the data source nor a ticket says it.")
    password: str = secrets.secret_field(description="The user's password, or the token that stands for it.")
    password_attribute: str = Field(
        default="PWD", description="The attribute that takes the password, where the driver has another for tokens."
    )

    extra: ClassVar[str] = "odbc"
    checks: ClassVar[Mapping[str, str]] = {
        "host": "Check the server and port in `attributes` or in the data source, DNS, firewalls, and that it runs.",
        "credentials": "Check `user` and `password`.",
        "database": "Check the database in `attributes` or in the data source.",
        "certificate": "Check what `attributes` or the data source say of TLS.",
        "driver": "Check `driver` and `dsn`; `odbcinst -q -d` and `odbcinst -q -s` list what is there.",
    }

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """A driver or a data source, and attributes that hold no secret."""
        found = super().problems(given)
        if bool(given["driver"]) == bool(given["dsn"]):
            also = "`driver` is given as well. Take one of the two away." if given["dsn"] else ""
            found.append(Problem("dsn" if also else "driver", also or "Give it, or `dsn`."))
        name = given["password_attribute"]
        if isinstance(name, str) and not name.replace("_", "").replace(" ", "").isalnum():
            found.append(
                Problem("password_attribute", "It is no name of an attribute. Valid: letters, digits and `_`.")
            )
        elif isinstance(name, str) and name.lower() in _taken(given["attributes"]):
            found.append(Problem("password_attribute", "Something else is said by it. Name that of the password."))
        return found

    @property
    def speaks(self) -> OdbcSystem:
        """What is known of the system."""
        return _SYSTEMS[self.system]

    @property
    def dialect(self) -> Dialect:  # type: ignore[override]  # what others know by their class, this one is told
        """How its SQL is written."""
        return self.speaks.dialect

    @property
    def place(self) -> str:
        """The data source; or the server and the database, where the attributes name them by a usual name."""
        said = {name.lower(): value for name, value in self.told_attributes.items()}
        server = next((said[name] for name in _SERVERS if name in said), looked_up(self.dsn) or looked_up(self.driver))
        return f"odbc://{server}/{said['database']}" if "database" in said else f"odbc://{server}"

    def connect(self, *, writing: bool = False) -> Any:
        """Log in, and make sure that the other side is what it is declared as."""
        pyodbc = driver_manager()
        driver = looked_up(self.driver)
        if driver:
            refuse_missing(driver)
        own = {"DRIVER": driver} if driver else {"DSN": looked_up(self.dsn)}
        there = {name.lower() for name in self.attributes}
        defaults = {name: value for name, value in self.speaks.attributes.items() if name.lower() not in there}
        login = {"UID": looked_up(self.user), self.password_attribute: secrets.resolve(self.password)}
        connection = connected(
            address(own | defaults | self.told_attributes | login),
            seconds=self.statement_timeout,
            login=self.connect_timeout,
            writing=writing,
        )
        with closed_if_it_fails(connection):
            self._refuse_another(str(connection.getinfo(pyodbc.SQL_DBMS_NAME)))
            self.speaks.begin(connection, writing=writing, seconds=self.statement_timeout)
        return connection

    def write_rows(self, name: str, rows: "pa.RecordBatchReader", how: RowsMode) -> RowsWritten:
        """Write rows to a table, where the system's SQL is known; see `Database.write_rows`.

        Raises:
            ConfigError: It is not.
        """
        if self.system == "other":
            raise ConfigError(
                "Rows can't be written by ODBC to a system whose SQL is not known. Declare the `system`: `postgres` or "
                "`mssql`; for others take their own connector."
            )
        return super().write_rows(name, rows, how)

    def _refuse_another(self, found: str) -> None:
        """Refuse a system that is read wrongly as what it is declared."""
        meant = next((system for system, name in _NAMES.items() if name.lower() == found.lower()), "other")
        if meant != self.system:
            raise ConfigError(f"`{self.place}` is `{found}`. Declare `system: {meant}`; it is `{self.system}`.")


def _taken(attributes: Any) -> set[str]:
    """Attributes that hold no password."""
    return _FIELDS | ({str(name).lower() for name in attributes} if isinstance(attributes, Mapping) else set())
