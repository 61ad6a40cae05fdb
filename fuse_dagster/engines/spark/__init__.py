"""The engine for data beyond one machine: Spark with Delta, in this process, over Spark Connect or on a platform."""
