"""``ecr-proxy keygen``: a private file, never overwritten, and every change said."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from proxy.__main__ import main
from proxy.commands.private import write_private
from proxy.lenses.identity import Namers
from proxy.lenses.keys import KeyRing, Pin


def keygen(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit code and all that was printed."""
    code = main(["keygen", *arguments])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_a_new_ring_is_private_and_usable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is readable by its owner alone, loads, and nothing of it is printed."""
    file = tmp_path / "keys.json"
    code, printed = keygen(capsys, "--file", str(file))
    assert code == 0
    assert str(file) in printed
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    ring = KeyRing.load(file)
    assert ring.default == Pin(1)
    text = file.read_text("ascii")
    for secret in (ring.service, ring.masters[1]):
        assert len(secret.data) == 32
        assert secret.data.hex() not in printed
    assert not [line for line in printed.split() if len(line) > 20 and line in text]
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


def test_two_rings_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Secrets are random: nothing is a default."""
    rings = []
    for name in ("a.json", "b.json"):
        keygen(capsys, "--file", str(tmp_path / name))
        rings.append(KeyRing.load(tmp_path / name))
    assert len({r.service.data for r in rings} | {r.masters[1].data for r in rings}) == 4


def test_an_existing_ring_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --force the file stays as it is; with it, the loss is said."""
    file = tmp_path / "keys.json"
    keygen(capsys, "--file", str(file))
    before = file.read_bytes()
    code, printed = keygen(capsys, "--file", str(file))
    assert code == 1
    assert "--rotate" in printed
    assert file.read_bytes() == before
    code, printed = keygen(capsys, "--file", str(file), "--force")
    assert code == 0
    assert "no longer known" in printed
    assert file.read_bytes() != before


def test_rotation_says_what_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A project's rotation, the default's, and a pin: each is said, old pseudonyms still decode."""
    file = tmp_path / "keys.json"
    keygen(capsys, "--file", str(file))
    old = Namers(KeyRing.load(file)).of("study-7", "r")
    code, printed = keygen(capsys, "--file", str(file), "--rotate", "--project", "study-7")
    assert code == 0
    assert "Project study-7: all pseudonyms and shifted dates change (key 1 -> 2)." in printed
    assert "made with key 1 are still accepted" in printed
    assert "Every other project: nothing changes (key 1)." in printed
    new = Namers(KeyRing.load(file)).of("study-7", "r")
    assert new.real_ids("Patient", old.show_id("Patient", "123")) == ("123",)
    assert new.show_id("Patient", "123") != old.show_id("Patient", "123")
    code, printed = keygen(capsys, "--file", str(file), "--pin", "study-9")
    assert "Project study-9 is listed now" in printed
    code, printed = keygen(capsys, "--file", str(file), "--rotate")
    assert "Master key 3 is new" in printed
    assert "Project study-7: nothing changes (key 2)." in printed
    assert "Project study-9: nothing changes (key 1)." in printed
    assert "Every other project: all pseudonyms and shifted dates change (key 1 -> 3)." in printed
    ring = KeyRing.load(file)
    assert (ring.pin("study-7"), ring.pin("study-9"), ring.pin("x")) == (
        Pin(2, (1,)),
        Pin(1),
        Pin(3, (1,)),
    )
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


WRONG = [
    (["--rotate", "--force"], 2, "exclude"),
    (["--rotate", "--pin", "p"], 2, "exclude"),
    (["--project", "p"], 2, "--rotate"),
    (["--rotate"], 1, "does not exist"),
    (["--pin", "p"], 1, "does not exist"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), WRONG)
def test_wrong_usage(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    """Options that make no sense together, or a file that is not there, change nothing."""
    found, printed = keygen(capsys, "--file", str(tmp_path / "keys.json"), *arguments)
    assert found == code
    assert message in printed
    assert not list(tmp_path.iterdir())


def test_an_open_ring_is_not_rotated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that others may read is refused before it is touched."""
    file = tmp_path / "keys.json"
    keygen(capsys, "--file", str(file))
    before = file.read_bytes()
    file.chmod(0o644)
    code, printed = keygen(capsys, "--file", str(file), "--rotate")
    assert (code, file.read_bytes()) == (1, before)
    assert "chmod 600" in printed


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the disk fails in the middle, the old content stands and no part of the new is left."""
    file = tmp_path / "keys.json"
    write_private(file, b"old", replace=False)

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_private(file, b"new", replace=True)
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]
