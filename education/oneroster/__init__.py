"""OneRoster 1.2, spoken in full: so far its CSV binding (1EdTech, final release 1.2.1).

The modules that read a zip (`archive`, `encodings`, `files`, `vocabularies`, `rows`, `parsing`, `child`) use
the standard library only: a large push is parsed in a process of its own, which must start in milliseconds.
"""
