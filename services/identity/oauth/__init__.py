"""OAuth 2.1 and OpenID Connect as spoken on the wire: metadata, token endpoint, sign-in, errors.

`token.py` the token endpoint with introspection (RFC 7662) and revocation (RFC 7009); `authorize.py` the
authorization endpoint with its sign-in page; `metadata.py` discovery (RFC 8414) and published keys;
`errors.py` the error form (RFC 6749 section 5.2).
"""
