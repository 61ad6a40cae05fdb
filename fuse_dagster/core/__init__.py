"""Words that every room shares: errors, results, names, column properties. Imports no other room."""
