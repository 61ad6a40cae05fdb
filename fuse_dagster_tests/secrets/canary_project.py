"""A project whose secrets are canaries; run by `test_canaries.py` in processes of its own."""

# Dagster reads these annotations, so they are not postponed.
import hashlib
import os
import pickle
from pathlib import Path

import dagster as dg
import polars as pl
import yaml

from fuse_dagster import DeltaIOManager, secrets
from fuse_dagster.connectors.profiles import load_profile

profile = load_profile(start=Path(os.environ["CANARY_PROJECT"]))
print(profile)
print("\n".join(str(row) for row in profile.rows()))

folder = Path(os.environ["CANARY_PROJECT"])
for name, connection in profile.connections.items():
    if name != "literal":  # which holds the secret itself, as the profile warns
        connection.storage_options() if name == "store" else None  # after which the secrets are known
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(connection))
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(connection.model_dump()), encoding="utf-8")

resources = {name: DeltaIOManager(lake=connection) for name, connection in profile.connections.items()}


def _asset(name: str) -> dg.AssetsDefinition:
    @dg.asset(name=f"planes_{name}", io_manager_key=name)
    def planes(context: dg.AssetExecutionContext) -> pl.DataFrame:
        context.log.info(repr(profile.connections[name]))
        return pl.DataFrame({"tailnum": ["N1", "N2"]})

    return planes


@dg.asset(required_resource_keys={"store"})
def proof(context: dg.AssetExecutionContext) -> None:
    """Says that the canaries were there to be leaked, by their digests."""
    store = profile.connections["store"]
    values = [secrets.resolve(getattr(store, field)) for field in sorted(secrets.secret_fields(type(store)))]
    context.log.info(" ".join(hashlib.sha256(value.encode()).hexdigest() for value in values))


@dg.asset
def careless(context: dg.AssetExecutionContext) -> None:
    """Fails with what people print: the connector, its fields, and a scrubbed message of somebody else's."""
    store = profile.connections["store"]
    options = "&".join(f"{name}={value}" for name, value in store.storage_options().items())
    message = f"{store} {store!r} {store.model_dump()} {secrets.scrub(options)}"
    context.log.error(message)
    raise RuntimeError(message)


defs = dg.Definitions(
    assets=[proof, careless, *(_asset(name) for name in profile.connections)],
    resources=resources,
    executor=dg.in_process_executor,
    jobs=[dg.define_asset_job("everything", selection="*")],
)
