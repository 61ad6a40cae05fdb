"""What connectors to databases share, as functions: dialects, bound parameters, names, types, partitions, failures."""
