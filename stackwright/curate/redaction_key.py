"""The key under which redacted values are hashed in the ledger.

An e-mail or IP address is so short that its plain hash can be undone by trying all of them, so the ledger holds an
HMAC. The key belongs to the operator, not to the run: it lies in one file with mode 600, is made on first use, and two
runs made with the same key have equal ledgers. Share it between machines to have equal rows there.
"""

from __future__ import annotations

import hashlib
import secrets
from functools import partial

from stackwright.errors import SourceError
from stackwright.files import key_file, make_secret_file
from stackwright.recipe import Recipe

KEY_FILE_VARIABLE = "STACKWRIGHT_KEY_FILE"
KEY_BYTES = 32


def load_redaction_key() -> bytes:
    """Return the key, making it on first use.

    Raises:
        SourceError: the file cannot be made or read, is too short, or others may read it.
    """
    path = key_file(KEY_FILE_VARIABLE, "redaction.key")
    try:
        make_secret_file(path, partial(secrets.token_bytes, KEY_BYTES))
        key = path.read_bytes()
        mode = path.stat().st_mode & 0o077
    except OSError as error:
        raise SourceError(
            f"redaction key {path} cannot be used ({error.strerror})", f"set {KEY_FILE_VARIABLE} to a file you own"
        ) from error
    if len(key) < KEY_BYTES:
        raise SourceError(
            f"redaction key {path} has {len(key)} bytes, {KEY_BYTES} are needed", "remove it to make a new one"
        )
    if mode:
        raise SourceError(f"redaction key {path} may be read by others", f"run: chmod 600 {path}")
    return key


def redaction_key_name(recipe: Recipe) -> str:
    """Return a short public name of the key, part of the stage's key; empty when nothing is redacted."""
    if not recipe.curate.redact:
        return ""
    return hashlib.sha256(b"name of " + load_redaction_key()).hexdigest()[:12]
