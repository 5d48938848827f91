"""The ways out: one module a channel.

Each takes what is told and where, sends it once, and says what came of it.
"""
