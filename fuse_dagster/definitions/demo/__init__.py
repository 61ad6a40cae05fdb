"""The demo project: real airports and flights, from a landing folder to tables that people want to see.

One module per layer (`bronze`, `silver`, `gold`), one per thing that runs them (`jobs`, `arrivals`, `alerts`), and what
the layers know about the data (`landing`, `parsing`, `airports`, `flights`, `weather`, `reference`, `words`).
"""
