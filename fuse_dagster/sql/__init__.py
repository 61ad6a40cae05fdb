"""SQL models: what a query reads, and which of its columns come from where."""
