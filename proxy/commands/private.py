"""Writing files that hold secrets: for their owner alone, whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import click


def write_private(path: Path, data: bytes, *, replace: bool) -> None:
    """``data`` as the file ``path``, mode 0600, by way of a new file beside it: a reader sees the
    old content or the new, never half of it.

    :raises click.ClickException: the file exists and ``replace`` is false.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if replace:
            beside.replace(path)
        else:
            os.link(beside, path)  # unlike a rename, this never takes another file's place
    except FileExistsError:
        raise click.ClickException(f"{path} exists already") from None
    finally:
        beside.unlink(missing_ok=True)
