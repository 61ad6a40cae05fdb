"""The Dagster vocabulary: IO manager, resource, asset decorators, partitions, checks, metadata.

What is in here translates: a Dagster context in, a call to a room below, the result to metadata.
"""
