"""What SPARQL takes: RDF terms as text that can't be taken for another one, and results as Arrow."""
