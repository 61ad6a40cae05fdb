"""Spark's settings in layers, where each value knows the layer that it comes from."""

from __future__ import annotations

import atexit
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.engines.spark.environment import SparkEnvironment, detect, platform_defaults

Layer = Literal["platform", "profile", "environment", "code"]
"""Where a value comes from; each layer goes before the ones to its left."""

Conf = Mapping[str, object]
"""Name -> text, number or bool; None takes a value of a lower layer away. Nested mappings join their names by dots."""

VARIABLE = "FUSE_SPARK_CONF"
"""Environment variable with settings as `spark-submit --conf` takes them, separated by blanks."""

PROFILE = "FUSE_PROFILE"
"""Environment variable that chooses a profile."""

_SECRET_NAME = re.compile(r"key|secret|token|passw|sas\b|credential|signature", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"^(?:env|vault|[\w+-]*secret[\w+-]*|keyvault)://|://[^/\s]*:[^/\s]*@|(?:passw\w*|secret|token|key|sig)=",
    re.IGNORECASE,
)
_LOG4J = """\
status = error
rootLogger.level = error
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d{yy/MM/dd HH:mm:ss} %p %c{1}: %m%n%ex
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value and where it comes from.

    Attributes:
        value: As Spark takes it.
        layer: The layer that decided.
    """

    value: str
    layer: Layer


@dataclass(frozen=True, kw_only=True)
class SparkSettings:
    """What a Spark session is started with: platform default < profile < environment < code.

    Args:
        conf: Settings of the code; they go before all others.
        profiles: Name -> settings, of which one is chosen: the ones for a laptop, for tests, for production.
        profile: The profile to use; else the one that `FUSE_PROFILE` names, else none.
        environ: Environment variables, where `FUSE_SPARK_CONF` and `FUSE_PROFILE` are looked up.
        environment: Where the session will be; else it is detected.
        packages: Maven coordinates of drivers for lakes; only a session that is started on this machine gets them.

    Raises:
        ConfigError: A name that is no Spark setting, a value that is no text, number or bool, words in
            `FUSE_SPARK_CONF` that are no `name=value`, or a profile that is not there.

    Examples:
        >>> settings = SparkSettings(conf={"spark.sql.shuffle.partitions": 8}, environ={})
        >>> settings.resolved()["spark.sql.shuffle.partitions"]
        Setting(value='8', layer='code')
    """

    conf: Conf = field(default_factory=dict)
    profiles: Mapping[str, Conf] = field(default_factory=dict)
    profile: str | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    environment: SparkEnvironment | None = None
    packages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.asked()

    def resolved(self) -> dict[str, Setting]:
        """All settings, sorted by name."""
        where = self.environment or detect(self.environ)
        defaults = platform_defaults(where, scratch=scratch(), packages=self.packages)
        layers = [("platform", defaults), *self._layers()]
        return _merged(layers)

    def asked(self) -> dict[str, Setting]:
        """The settings that somebody chose, without the defaults of the platform, sorted by name."""
        return _merged(self._layers())

    def values(self) -> dict[str, str]:
        """All settings as Spark takes them, sorted by name."""
        return {name: setting.value for name, setting in self.resolved().items()}

    def explain(self) -> str:
        """Show each setting, its value and its layer in columns; secrets and references to them are masked."""
        found = [(name, shown(name, setting.value), str(setting.layer)) for name, setting in self.resolved().items()]
        rows = [("setting", "value", "from"), *found]
        widths = [max(len(row[column]) for row in rows) for column in (0, 2)]
        return "\n".join(f"{name:<{widths[0]}}  {layer:<{widths[1]}}  {value}".rstrip() for name, value, layer in rows)

    def _layers(self) -> list[tuple[Layer, Mapping[str, str | None]]]:
        return [
            ("profile", self._profile()),
            ("environment", _from_variable(self.environ.get(VARIABLE, ""))),
            ("code", _flat(self.conf, of="the settings in code")),
        ]

    def _profile(self) -> Mapping[str, str | None]:
        chosen = self.profile or self.environ.get(PROFILE)
        if not chosen or (not self.profiles and not self.profile):
            return {}  # FUSE_PROFILE is for everything that has profiles; this has none
        if chosen not in self.profiles:
            msg = f"There is no profile `{chosen}`. {did_you_mean(chosen, self.profiles)}"
            raise ConfigError(msg)
        return _flat(self.profiles[chosen], of=f"profile `{chosen}`")


def shown(name: str, value: str) -> str:
    """A setting's value, or `***` where its name or its form says that it is secret."""
    return "***" if _SECRET_NAME.search(name) or _SECRET_VALUE.search(value) else value


@cache
def scratch() -> Path:
    """The folder of this process for what Spark leaves behind; it goes with the process."""
    folder = Path(tempfile.mkdtemp(prefix="fuse_spark_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "log4j2.properties").write_text(_LOG4J, encoding="utf-8")
    return folder


def _merged(layers: list[tuple[Layer, Mapping[str, str | None]]]) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for layer, conf in layers:
        for name, value in conf.items():
            if value is None:
                found.pop(name, None)
            else:
                found[name] = Setting(value, layer)
    return dict(sorted(found.items()))


def _from_variable(text: str) -> dict[str, str | None]:
    conf: dict[str, object] = {}
    try:
        words = shlex.split(text)
    except ValueError as error:
        msg = f"`{VARIABLE}` can't be read: {error}. Valid: `spark.a.b=1 'spark.c=two words'`."
        raise ConfigError(msg) from error
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            msg = f"`{VARIABLE}` holds `{name}`, which is no `name=value`. Valid: `spark.a.b=1 'spark.c=two words'`."
            raise ConfigError(msg)
        conf[name] = value or None
    return _flat(conf, of=f"`{VARIABLE}`")


def _flat(conf: Conf, *, of: str, above: str = "") -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for key, value in conf.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            found |= _flat(value, of=of, above=f"{name}.")
            continue
        if not name.startswith("spark.") or name != name.strip():
            msg = f"`{name}` in {of} is no Spark setting. Valid: names that begin with `spark.`."
            raise ConfigError(msg)
        if not isinstance(value, str | int | float | None):
            msg = f"`{name}` in {of} is {type(value).__name__}. Valid: text, a number, true or false, or None."
            raise ConfigError(msg)
        found[name] = str(value).lower() if isinstance(value, bool) else value if value is None else str(value)
    return found
