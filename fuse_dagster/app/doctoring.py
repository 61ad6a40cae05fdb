"""Whether this machine has what fuse_dagster needs: each finding with what to do about it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zoneinfo
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from fuse_dagster import __version__
from fuse_dagster.app.connecting import extras
from fuse_dagster.app.findings import Finding, Status
from fuse_dagster.app.profiles import profile
from fuse_dagster.app.reaching import of_connection
from fuse_dagster.app.values import size
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.profiles import find
from fuse_dagster.core.registry import OURSELVES
from fuse_dagster.engines.spark.environment import DELTA, detect

_LIBRARIES = ("dagster", "deltalake", "polars", "duckdb", "pyarrow")
_OLDEST_JAVA = 17
_LITTLE_ROOM = 2**30  # bytes
_DRIFT = 5.0  # seconds
_PATIENCE = 30  # seconds


def examine() -> Iterator[Finding]:
    """Look at everything, one after the other, and change nothing.

    No other machine is asked, except those that the profile's connections and references to secrets lead to.
    """
    for look in LOOKS:
        yield look()
    yield from _profile()


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < (3, 11) or sys.version_info >= (3, 15):
        return Finding(what="Python", status=Status.FAIL, found=found, do="Use Python 3.11 to 3.14.")
    return Finding(what="Python", status=Status.OK, found=found)


def _versions() -> Finding:
    versions, missing = [f"fuse_dagster {__version__}"], []
    for name in _LIBRARIES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        do = f"Install what is missing: pip install {' '.join(missing)}"
        return Finding(what="packages", status=Status.FAIL, found=", ".join(versions), do=do)
    return Finding(what="packages", status=Status.OK, found=", ".join(versions))


def _extras() -> Finding:
    known = extras(OURSELVES)
    there = [name for name, packages in sorted(known.items()) if all(_has(package) for package in packages)]
    others = [name for name in sorted(known) if name not in there]
    found = f"{', '.join(there) or 'none'}; not installed: {', '.join(others) or 'none'}"
    return Finding(what="extras", status=Status.OK, found=found)


def _has(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _dagster_home() -> Finding:
    home = os.environ.get("DAGSTER_HOME")
    what = "DAGSTER_HOME"
    if not home:
        do = "Set it to an absolute path of a folder, so that runs, schedules and sensors are kept."
        return Finding(what=what, status=Status.NOTE, found="not set: runs are recorded nowhere", do=do)
    if not Path(home).is_absolute() or not Path(home).is_dir():
        return Finding(
            what=what, status=Status.FAIL, found=home, do="Set it to the absolute path of a folder that exists."
        )
    if not os.access(home, os.W_OK):
        return Finding(what=what, status=Status.FAIL, found=home, do="Let this user write there.")
    return Finding(what=what, status=Status.OK, found=home)


def _web_ui() -> Finding:
    if find_spec("dagster_webserver") is None:
        do = 'For `fuse ui`: pip install "fuse-dagster[demo]"'
        return Finding(what="web UI", status=Status.NOTE, found="dagster-webserver is not installed", do=do)
    return Finding(what="web UI", status=Status.OK, found=f"dagster-webserver {metadata.version('dagster-webserver')}")


def _java() -> Finding:
    home = os.environ.get("JAVA_HOME")
    path = Path(home, "bin", "java") if home else Path(shutil.which("java") or "java")
    do = "Only for Spark: install Java 17 or newer, as by `apt-get install default-jre-headless`, or set `JAVA_HOME`."
    if not path.exists():
        where = f"`JAVA_HOME` is `{home}`, and there is no `bin/java` in it" if home else "none"
        return Finding(what="Java", status=Status.FAIL if home else Status.NOTE, found=where, do=do)
    try:
        told = subprocess.run([path, "-version"], capture_output=True, text=True, check=True, timeout=_PATIENCE)  # noqa: S603 - the user's own Java
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(what="Java", status=Status.FAIL, found=f"`{path}` does not run: {error}", do=do)
    version = re.search(r'version "(?:1\.)?(\d+)', told.stderr + told.stdout)
    found = f"{path}: {(told.stderr or told.stdout).splitlines()[0]}"
    if version is None or int(version[1]) < _OLDEST_JAVA:
        return Finding(what="Java", status=Status.FAIL, found=found, do=do)
    return Finding(what="Java", status=Status.OK, found=found)


def _spark() -> Finding:
    where = detect().name
    if find_spec("pyspark") is None:
        do = 'Only for Spark: pip install "fuse-dagster[spark]"'
        return Finding(what="Spark", status=Status.NOTE, found="pyspark is not installed", do=do)
    return Finding(what="Spark", status=Status.OK, found=f"pyspark {metadata.version('pyspark')}, would run on {where}")


def _jars() -> Finding:
    group, artifact, version = DELTA.split(":")
    name = f"{group}_{artifact}-{version}.jar"
    places = [folder / "jars" / name for folder in Path.home().glob(".ivy2*")]
    there = next((place for place in places if place.is_file()), None)
    if there is None:
        do = "The first Spark session downloads it from Maven Central, so this machine has to reach that once."
        return Finding(what="Delta jar for Spark", status=Status.NOTE, found=f"`{name}` is not here yet", do=do)
    return Finding(what="Delta jar for Spark", status=Status.OK, found=str(there))


def _clock() -> Finding:
    with tempfile.NamedTemporaryFile() as file:
        drift = Path(file.name).stat().st_mtime - time.time()
    built = Path(__file__).stat().st_mtime
    found = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    do = "Set the clock, as by NTP: commits, retention and signed requests go by it."
    if time.time() < built - 86_400 or abs(drift) > _DRIFT:
        return Finding(what="clock", status=Status.FAIL, found=f"{found}, {drift:+.0f} s from the disk's", do=do)
    return Finding(what="clock", status=Status.OK, found=found)


def _time_zones() -> Finding:
    try:
        zoneinfo.ZoneInfo("Europe/Vienna")
    except zoneinfo.ZoneInfoNotFoundError:
        do = "Install the zones: pip install tzdata"
        return Finding(what="time zones", status=Status.FAIL, found="none", do=do)
    return Finding(what="time zones", status=Status.OK, found=f"{len(zoneinfo.available_timezones())} known")


def _disk() -> Finding:
    told = {place: shutil.disk_usage(place) for place in (str(Path.cwd()), tempfile.gettempdir())}
    found = ", ".join(f"{place}: {size(usage.free)} of {size(usage.total)} free" for place, usage in told.items())
    if any(usage.free < _LITTLE_ROOM for usage in told.values()):
        return Finding(what="disk", status=Status.FAIL, found=found, do="Make room: less than 1 GiB is left.")
    return Finding(what="disk", status=Status.OK, found=found)


def _profile() -> Iterator[Finding]:
    """The profile, and each of its connections."""
    try:
        find()
    except ConfigError:
        do = "For connections by name, write one: the documentation has a page on profiles."
        yield Finding(what="fuse.yaml", status=Status.NOTE, found="none in this folder or above", do=do)
        return
    try:
        found = profile()
    except ConfigError as error:
        yield Finding(what="fuse.yaml", status=Status.FAIL, found=str(error), do="Correct what it says.")
        return
    yield Finding(what="fuse.yaml", status=Status.OK, found=f"profile {found.name} of {found.file}")
    for text in found.warnings:
        yield Finding(what="fuse.yaml", status=Status.NOTE, found=text, do="Replace the value by a reference.")
    for name, connector in found.connections.items():
        yield from of_connection(name, connector)


LOOKS: tuple[Callable[[], Finding], ...] = (
    _python, _versions, _extras, _dagster_home, _web_ui, _java, _spark, _jars, _clock, _time_zones, _disk,
)  # fmt: skip
