"""Reading a history in Spark: the rows that the functions of `history.reading` give on one machine, lazily."""
