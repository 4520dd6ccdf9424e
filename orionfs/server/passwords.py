"""Passwords as they are kept: salted scrypt hashes, checked in the same time whatever is wrong.

Pure and slow on purpose (tens of milliseconds, 16 MiB): call it in worker threads, a few at once.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

_COST, _BLOCK_SIZE, _PARALLEL = 2**14, 8, 1
_SALT_BYTES = 16


def hash_password(password: str) -> str:
    """What is kept of a password."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return f"scrypt:{_COST}:{_BLOCK_SIZE}:{_PARALLEL}:{salt.hex()}:{_derive(password, salt).hex()}"


def is_password(password: str, kept: str | None) -> bool:
    """Whether this is the password of `kept`; for None as slowly as for any other, and never."""
    cost, block_size, parallel, salt, expected = (kept or _OF_NOBODY).split(":")[1:]
    found = _derive(password, bytes.fromhex(salt), int(cost), int(block_size), int(parallel))
    return hmac.compare_digest(found, bytes.fromhex(expected)) and kept is not None


def _derive(
    password: str,
    salt: bytes,
    cost: int = _COST,
    block_size: int = _BLOCK_SIZE,
    parallel: int = _PARALLEL,
) -> bytes:
    # JSON can carry what is no Unicode text: it is a wrong password like any other.
    content = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(content, salt=salt, n=cost, r=block_size, p=parallel, dklen=32)


_OF_NOBODY = f"scrypt:{_COST}:{_BLOCK_SIZE}:{_PARALLEL}:{bytes(_SALT_BYTES).hex()}:{bytes(32).hex()}"
