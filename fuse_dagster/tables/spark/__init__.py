"""Writing through Spark: the plans of the local engine, run per bucket of keys in Spark's workers, and one commit.

What a batch means is decided by one code for both engines. Spark brings the rows of one bucket of keys together, a
worker plans over them in polars, and what the plans say lands as one MERGE or one atomic write.
"""
