"""BigQuery, by Google's client: questions are jobs, answers come in pages."""

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors.database import Database, TableColumn
from fuse_dagster.connectors.databases.arrow import reader_of
from fuse_dagster.connectors.databases.asking import refuse_changes
from fuse_dagster.connectors.databases.bigquery_types import cell_of, parameter, word_of
from fuse_dagster.connectors.databases.dialects import BIGQUERY, Dialect, bound
from fuse_dagster.connectors.databases.modes import RowsMode, RowsWritten
from fuse_dagster.connectors.declaring import Problem, in_the_clear, wrong_times
from fuse_dagster.connectors.object_store import looked_up, name_problems
from fuse_dagster.core.errors import ConfigError, first_line

if TYPE_CHECKING:
    import pyarrow as pa

_REASONS = {
    "notFound": "table", "accessDenied": "rights", "invalidQuery": "syntax", "bytesBilledLimitExceeded": "costs",
    "rateLimitExceeded": "busy", "quotaExceeded": "busy", "jobRateLimitExceeded": "busy", "backendError": "cut",
    "internalError": "cut", "stopped": "slow", "timeout": "slow", "responseTooLarge": "value", "invalid": "value",
    "resourcesExceeded": "slow", "authError": "credentials", "required": "credentials", "invalidUser": "credentials",
}  # fmt: skip
"""https://cloud.google.com/bigquery/docs/error-messages"""


class BigQuery(Database):
    """The datasets of a project of Google BigQuery.

    Without a service account the application default credentials are taken: the file that
    `GOOGLE_APPLICATION_CREDENTIALS` names, the login of `gcloud`, or the account of the machine.

    Examples:
        >>> BigQuery(project="acme", dataset="shop", maximum_bytes_billed=10 * 1024**3).place
        'bigquery://acme/shop'
    """

    type: Literal["bigquery"] = "bigquery"
    project: str = Field(description="The project that holds the data, and pays.")
    dataset: str = Field(default="", description="The dataset of tables that are named without one.")
    location: str = Field(default="", description="Where jobs run, as `EU`; else BigQuery finds it from the tables.")
    service_account: str = secrets.secret_field(
        description="The key of a service account: the path of its JSON file, or a reference to the JSON itself."
    )
    maximum_bytes_billed: int = Field(
        default=0, description="A question that would read more bytes is refused before it costs; 0 for no limit."
    )
    labels: dict[str, str] = Field(default={}, description="Labels of each job, which tell bills apart.")
    page_rows: int = Field(default=20_000, description="Rows of one page of an answer, which memory holds.")
    endpoint: str = Field(default="", description="Address of an emulator, or a private one; else Google's.")

    dialect: ClassVar[Dialect] = BIGQUERY
    extra: ClassVar[str] = "bigquery"
    longest_path: ClassVar[int] = 3
    checks: ClassVar[Mapping[str, str]] = {
        "host": "Check `endpoint`, DNS, firewalls and proxies.",
        "credentials": "Check `service_account`, or the application default credentials here, and that the key was "
        "not withdrawn.",
        "rights": "The account needs the roles BigQuery Job User in `project`, and BigQuery Data Viewer on the "
        "dataset; to write, BigQuery Data Editor.",
        "table": "Check the names, and `location`; list the names to see what there is.",
    }

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """A project by its name, and limits that are some."""
        found = super().problems(given) + name_problems(given, "project") + wrong_times(given, ("page_rows",))
        found += in_the_clear(given, "endpoint") if given.get("service_account") else []
        most = given.get("maximum_bytes_billed")
        if isinstance(most, int) and most < 0:
            found.append(Problem("maximum_bytes_billed", f"`{most}` is no limit. Valid: bytes, or 0 for none."))
        return found

    @property
    def place(self) -> str:
        """Project and dataset."""
        return "/".join(["bigquery:/", looked_up(self.project), *filter(None, [looked_up(self.dataset)])])

    def connect(self, *, writing: bool = False) -> Any:
        """Make a client. There is no read-only transaction: what doesn't read is refused before it is sent."""
        import google.cloud.bigquery as bigquery  # noqa: PLR0402 - the other form does not say that a package is missing

        del writing
        options = {"api_endpoint": looked_up(self.endpoint).rstrip("/")} if self.endpoint else None
        return bigquery.Client(
            project=looked_up(self.project),
            credentials=self._credentials(),
            location=looked_up(self.location) or None,
            client_options=options,
        )

    def version(self, connection: Any) -> str:
        """Say what answers; of versions BigQuery knows those of its API alone. It costs nothing."""
        if self.dataset:
            connection.get_dataset(self._in_project(looked_up(self.dataset)), retry=self.retry())
        else:
            next(iter(connection.list_datasets(max_results=1, retry=self.retry())), None)
        return "BigQuery API v2"

    def tables(self, connection: Any) -> Iterator[tuple[str, ...]]:
        """Yield datasets and names of tables and views: of `dataset`, or else of all. It costs nothing."""
        datasets = [looked_up(self.dataset)] if self.dataset else []
        for dataset in datasets or [one.dataset_id for one in connection.list_datasets(retry=self.retry())]:
            for table in connection.list_tables(self._in_project(dataset), retry=self.retry()):
                yield dataset, table.table_id

    def described(self, connection: Any, parts: Sequence[str]) -> Sequence[TableColumn]:
        """The columns of a table. It costs nothing."""
        from google.api_core.exceptions import NotFound

        try:
            table = connection.get_table(".".join(self.located(parts)), retry=self.retry())
        except NotFound:
            return []
        keyed = table.table_constraints.primary_key if table.table_constraints else None
        keys = list(keyed.columns) if keyed else []
        return [
            TableColumn(
                name=one.name, type=word_of(one), nullable=one.mode != "REQUIRED",
                key=keys.index(one.name) + 1 if one.name in keys else 0,
            )
            for one in table.schema
        ]  # fmt: skip

    def table(self, name: str) -> str:
        """A table's name as SQL, with its project and dataset."""
        from fuse_dagster.connectors.databases.naming import parts_of

        return self.dialect.path(self.located(parts_of(name, most=self.longest_path)))

    def located(self, parts: Sequence[str]) -> tuple[str, ...]:
        """A table's project, dataset and name.

        Raises:
            ConfigError: No dataset is said, neither by the name nor by `dataset`; or it can't be a name.
        """
        for part in parts:
            self.dialect.quoted(part)
            kinds = {unicodedata.category(sign) for sign in part}
            # The client puts names into addresses as they are.
            if any(kind[0] not in "LMN" and kind not in {"Pc", "Pd", "Zs"} for kind in kinds):
                raise ConfigError(
                    f"`{part}` can't be the name of a table in BigQuery. Valid: letters, digits, spaces, `_` and `-`."
                )
        whole = [looked_up(self.project), *filter(None, [looked_up(self.dataset)])]
        found = (*whole[: 3 - len(parts)], *parts)
        if len(found) < 3:
            raise ConfigError(f"`{parts[-1]}` needs its dataset: write `dataset.{parts[-1]}`, or set `dataset`.")
        return found

    def location_of(self, connection: Any, table: Sequence[str]) -> str:
        """Where the jobs of a table run: `location`, or that of its dataset.

        Args:
            connection: Of `connect`.
            table: Of `located`.
        """
        said = looked_up(self.location)
        return said or str(connection.get_dataset(".".join(table[:2]), retry=self.retry()).location)

    @contextmanager
    def stream(
        self, connection: Any, text: str, values: Sequence[Any], *, declared: Mapping[str, str]
    ) -> "Iterator[pa.RecordBatchReader]":
        """Read an answer page by page; BigQuery keeps it for a day."""
        del declared
        refuse_changes(self.dialect, text)
        found = self.asked(connection, text, values)
        cells = [cell_of(field) for field in found.schema]
        yield reader_of(cells, ([tuple(row) for row in page] for page in found.pages))

    def write_rows(self, name: str, rows: "pa.RecordBatchReader", how: RowsMode) -> RowsWritten:
        """As `Database.write_rows`, by load jobs and one job of SQL.

        Raises:
            InputError: The rows are refused; nothing was written.
            OutcomeUnknownError: It can't be asked whether the last job ended well.
        """
        from fuse_dagster.connectors.databases.bigquery_writing import write_rows

        return write_rows(self, name, rows, how)

    def estimate(self, text: str, parameters: Mapping[str, Any] | None = None) -> int:
        """Say how many bytes a question would read, by a dry run, which costs nothing.

        Args:
            text: As `query` takes it.
            parameters: As `query` takes them.

        Raises:
            InputError: The system doesn't understand it.
        """
        said, values = bound(self.dialect, text, parameters) if parameters else (text, [])
        refuse_changes(self.dialect, said)
        with self.session() as connection:
            return int(self.submitted(connection, said, values, dry_run=True).total_bytes_processed or 0)

    def submitted(
        self,
        connection: Any,
        text: str,
        values: Sequence[Any] = (),
        *,
        job_id: str | None = None,
        dry_run: bool = False,
        location: str | None = None,
    ) -> Any:
        """Send a statement as a job, and don't wait for it.

        Args:
            connection: Of `connect`.
            text: With `@p1`, ... where values are bound.
            values: Of those.
            job_id: Its id; of two jobs of one id the second is refused.
            dry_run: Whether it is looked at only.
            location: Where it runs; else that of the connector.
        """
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(
            query_parameters=[parameter(f"p{number}", value) for number, value in enumerate(values, start=1)],
            labels=self.labels,
            dry_run=dry_run,
        )
        if self.dataset:
            config.default_dataset = self._in_project(looked_up(self.dataset))
        if self.maximum_bytes_billed and not dry_run:
            config.maximum_bytes_billed = self.maximum_bytes_billed
        config.job_timeout_ms = round(self.statement_timeout * 1000)
        return connection.query(
            text,
            job_config=config,
            job_id=job_id,
            location=location,
            retry=self.retry(),
            job_retry=None,
            timeout=self._patience(),
        )

    def asked(self, connection: Any, text: str, values: Sequence[Any] = ()) -> Any:
        """Send a statement, wait for its end, and give the client's iterator over its rows."""
        job = self.submitted(connection, text, values)
        return job.result(page_size=self.page_rows, retry=self.retry(), timeout=self.statement_timeout, job_retry=None)

    def retry(self) -> Any:
        """How the client asks again: for as long as a connection may take."""
        from google.cloud import bigquery

        return bigquery.DEFAULT_RETRY.with_timeout(self._patience())

    def told(self, error: Exception) -> tuple[str | None, str] | None:
        """By the reason that BigQuery gives, and by the status."""
        import concurrent.futures

        from google.api_core import exceptions as theirs
        from google.auth import exceptions as logins
        from requests import exceptions as lines

        if isinstance(error, logins.TransportError | lines.ConnectionError | theirs.RetryError):
            return "host", ""
        if isinstance(error, logins.GoogleAuthError):
            return "credentials", ""
        if isinstance(error, lines.Timeout | concurrent.futures.TimeoutError):
            return ("time" if isinstance(error, lines.Timeout) else "slow"), ""
        if not isinstance(error, theirs.GoogleAPICallError):
            return None
        details = error.errors or [{}]
        said = first_line(Exception(details[0].get("message") or error.message))
        kind = _REASONS.get(str(details[0].get("reason", "")))
        by_status = {401: "credentials", 403: "rights", 404: "table", 400: "syntax", 429: "busy"}
        kind = kind or by_status.get(int(error.code or 0), "cut" if int(error.code or 500) >= 500 else None)
        if kind == "syntax" and ("Unrecognized name" in said or "not found inside" in said):
            kind = "column"
        return kind, said

    def _patience(self) -> float:
        return max(self.connect_timeout, 1.0)

    def _in_project(self, dataset: str) -> str:
        return f"{looked_up(self.project)}.{dataset}"

    def _credentials(self) -> Any:
        """What the client logs in by; None for the application default credentials."""
        from google.auth.credentials import AnonymousCredentials
        from google.oauth2 import service_account

        if not self.service_account:
            return AnonymousCredentials() if looked_up(self.endpoint).startswith("http://") else None  # type: ignore[no-untyped-call]
        text = secrets.resolve(self.service_account)
        try:
            info = json.loads(text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8"))
            return service_account.Credentials.from_service_account_info(info)  # type: ignore[no-untyped-call]
        except (OSError, ValueError):  # which may hold the text
            raise ConfigError(
                "`service_account` is no key of a service account. Give the path of its JSON file, or a reference to "
                "the JSON itself."
            ) from None
