"""The secret of a data folder and what is derived from it: token hashes, signatures of URLs.

Pure apart from reading or making the key file (0600). Tokens are 32 random bytes; only their keyed
hash is stored anywhere but in the token files of their users.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

from orionfs.server.problems import Refusal, ServeError, denied

_KEY_BYTES = 32
_TOKEN_FORM = re.compile(r"[A-Za-z0-9_-]{43}")


def load_key(path: Path) -> bytes:
    """The key of a data folder; made when it is missing. ServeError when it is damaged."""
    if not path.exists():
        write_private(path, secrets.token_bytes(_KEY_BYTES))
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise ServeError(f"the key in {path} is damaged; restore it or start with a new data folder")
    return key


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read: whole or not at all, on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make names that were made or changed in a directory survive a power cut."""
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def new_token() -> str:
    """A token nobody else has."""
    return secrets.token_urlsafe(_KEY_BYTES)


def looks_like_token(text: str) -> bool:
    """Whether a text has the form of `new_token`."""
    return _TOKEN_FORM.fullmatch(text) is not None


class Signer:
    """Keyed hashes with the key of one data folder."""

    def __init__(self, key: bytes, lifetime_s: float) -> None:
        self._key = key
        self._lifetime_s = lifetime_s

    def token_hash(self, token: str) -> bytes:
        """What is stored of a token. Whoever has this hash can't make the token from it."""
        return self._mac(b"token", token.encode("utf-8", "surrogateescape"))

    def sign_url(self, method: str, path: str) -> str:
        """`path` with an expiry and a signature: good for this method (GET covers HEAD), no other path."""
        expires = f"{time.time() + self._lifetime_s:.3f}"
        signature = self._signature(method, path, expires)
        return f"{path}?{urlencode({'expires': expires, 'signature': signature})}"

    def check_url(self, method: str, path: str, expires: str, signature: str) -> None:
        """Refusal 403 unless this URL was signed here and still holds."""
        expected = self._signature(method, path, expires)
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogateescape")):
            raise denied("this URL is not signed by this server", "bad_signature")
        if float(expires) < time.time():
            raise Refusal(403, "expired", "this URL has expired")

    def _signature(self, method: str, path: str, expires: str) -> str:
        word = "GET" if method == "HEAD" else method
        return self._mac(b"url", f"{word}\n{path}\n{expires}".encode("utf-8", "surrogateescape")).hex()

    def _mac(self, purpose: bytes, content: bytes) -> bytes:
        return hmac.digest(self._key, purpose + b"\0" + content, hashlib.sha256)
