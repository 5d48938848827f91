"""Bulk data: whole populations out and in, as NDJSON, by jobs (Bulk Data Access IG 2.0.0)."""
