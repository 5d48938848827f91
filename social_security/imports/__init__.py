"""Contributions, payments, claims and claim lines as agencies and insurers push them."""
