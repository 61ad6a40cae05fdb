"""Whether rows are what they should be: rules, and the split of a batch into what keeps them and what does not."""
