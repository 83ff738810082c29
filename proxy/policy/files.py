"""The files that a policy is written in."""

from __future__ import annotations

import errno
import os
from pathlib import Path

LARGEST = 2_000_000  # bytes of a policy file, and of a map beside it


class TooLarge(ValueError):
    """A file of more than ``LARGEST`` bytes."""


def read_text(file: Path) -> str:
    """The text of a file.

    Raises OSError for what cannot be read or is no file (a device never ends), TooLarge,
    UnicodeDecodeError for what is not UTF-8.
    """
    if file.exists() and not file.is_file():
        number = errno.EISDIR if file.is_dir() else errno.EINVAL
        raise OSError(number, os.strerror(number) if file.is_dir() else "not a file")
    with file.open("rb") as stream:
        body = stream.read(LARGEST + 1)
    if len(body) > LARGEST:
        raise TooLarge
    return body.decode("utf-8")
