"""Keeping tables fast and small: compaction, vacuum, checkpoints. No row changes in here."""
