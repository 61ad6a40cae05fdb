"""Files in a landing folder as a source of loads: each content once, in any order, whatever breaks between."""

from fuse_dagster.ingest.landing.arriving import Arrival, Arrivals, arrivals
from fuse_dagster.ingest.landing.naming import NamePattern
from fuse_dagster.ingest.landing.source import LandingFiles

__all__ = ["Arrival", "Arrivals", "LandingFiles", "NamePattern", "arrivals"]
