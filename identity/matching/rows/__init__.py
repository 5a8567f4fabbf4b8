"""The SQL of the matcher, carried out on one row at a time in Python: for a few records DuckDB takes longer to set up a
query than to answer it.

There is one text of the rules, the SQL that the batch runs; here it is read (`queries`, `expressions`) and its functions
are done by hand (`functions`, `patterns`, `letters`). What is not known here is refused when the SQL is read, never while
a record waits: then DuckDB does it. Property tests compare both, record by record and pair by pair.
"""
