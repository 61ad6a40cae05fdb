"""Snapshots: what a batch that is the whole truth does to a history."""
