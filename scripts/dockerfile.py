"""Read a Dockerfile into stages of steps: as much of its grammar as this repository uses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction. ``text``: its arguments with line continuations joined; ``line``: where
    it begins."""

    name: str
    text: str
    line: int

    @property
    def words(self) -> list[str]:
        """The arguments: those of the JSON form, or split at spaces; flags are left out."""
        text = self.text
        if "[" in text and text.rstrip().endswith("]"):
            parsed = json.loads(text[text.index("[") :])
            return [str(word) for word in parsed]
        return [word for word in text.split() if not word.startswith("--")]

    def flag(self, name: str) -> str:
        """The value of ``--name=value``, or an empty string."""
        for word in self.text.split():
            if word.startswith(f"--{name}="):
                return word.partition("=")[2]
        return ""


@dataclass(frozen=True, slots=True)
class Stage:
    """What stands between one FROM and the next."""

    image: str
    name: str
    steps: tuple[Step, ...]

    def named(self, instruction: str) -> list[Step]:
        return [step for step in self.steps if step.name == instruction]


def read_steps(text: str) -> list[Step]:
    """All instructions in order. Comments and blank lines go, also inside a continued line."""
    steps: list[Step] = []
    held, begun = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        begun = begun or number
        held += line.strip()
        if held.endswith("\\"):
            held = held[:-1]
            continue
        name, _, arguments = held.partition(" ")
        steps.append(Step(name.upper(), arguments.strip(), begun))
        held, begun = "", 0
    if held:
        raise ValueError(f"line {begun}: the last line is continued")
    return steps


def read_stages(path: Path) -> list[Stage]:
    """The stages of a Dockerfile. Raises ValueError if it does not begin with FROM."""
    stages: list[Stage] = []
    for step in read_steps(path.read_text()):
        if step.name == "FROM":
            image, *rest = step.words
            stages.append(Stage(image, rest[1] if len(rest) == 2 else "", ()))
        elif not stages:
            raise ValueError(f"line {step.line}: {step.name} stands before FROM")
        else:
            last = stages[-1]
            stages[-1] = Stage(last.image, last.name, (*last.steps, step))
    return stages
