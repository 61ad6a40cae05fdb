"""Front doors: the command line. They ask the rooms below and say what came of it; no data logic in here."""
