"""The files that a policy is written in."""

from __future__ import annotations

import errno
import os
from pathlib import Path

LARGEST = 2_000_000  # bytes of a policy file, and of a map beside it


def read_text(file: Path) -> str | None:
    """The text of a file; None if it is larger than ``LARGEST``.

    Raises OSError for what cannot be read or is no file (a device never ends), UnicodeDecodeError
    for what is not UTF-8.
    """
    if file.exists() and not file.is_file():
        number = errno.EISDIR if file.is_dir() else errno.EINVAL
        raise OSError(number, os.strerror(number) if file.is_dir() else "not a file")
    with file.open("rb") as stream:
        body = stream.read(LARGEST + 1)
    return None if len(body) > LARGEST else body.decode("utf-8")
