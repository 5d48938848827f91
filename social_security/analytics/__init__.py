"""Benefit audit rules as ibis expressions over Parquet snapshots, and the process that runs them.

Nothing here is imported by the service's app: ibis and DuckDB are loaded in a process of their own
(`python -m social_security.analytics`), which ends with the run and gives its memory back.
"""
