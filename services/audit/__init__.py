"""One Merkle log over every access leaf of the suite: heads, proofs, an offline verifier (RFC 6962)."""
