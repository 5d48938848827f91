"""Every SQL statement of the exchange, by what it is about."""
