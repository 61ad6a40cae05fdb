"""The memory of a history, which lies beside its table in `_fuse/`."""
