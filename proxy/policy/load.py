"""Policy files to policies: all of them, or every mistake in them at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from proxy.policy.build import build
from proxy.policy.draft import Draft
from proxy.policy.judge import judge
from proxy.policy.merge import merge
from proxy.policy.mistakes import Findings, Mistake, PolicyErrors, offer
from proxy.policy.model import Policy, Source
from proxy.policy.read import read_draft

__all__ = [
    "Loaded",
    "Mistake",
    "PolicyErrors",
    "load_directory",
    "load_policies",
    "load_policy",
    "read_policies",
]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was read: the policies without mistakes by name, mistakes and warnings in order."""

    policies: Mapping[str, Policy]
    mistakes: tuple[Mistake, ...]
    warnings: tuple[Mistake, ...]


def load_policy(path: str | FilePath) -> Policy:
    """The policy of one file, its base merged in. Raises :class:`PolicyErrors` with all mistakes
    of the file and its bases."""
    return next(iter(load_policies([path]).values()))


def load_directory(path: str | FilePath) -> dict[str, Policy]:
    """Every policy of a directory by name, bases too (``served`` False). Raises
    :class:`PolicyErrors` with all mistakes of all files."""
    return load_policies([path])


def load_policies(paths: Iterable[str | FilePath]) -> dict[str, Policy]:
    """The policies of files and directories by name. Raises :class:`PolicyErrors`."""
    loaded = read_policies(paths)
    if loaded.mistakes:
        raise PolicyErrors(loaded.mistakes)
    return dict(loaded.policies)


def read_policies(paths: Iterable[str | FilePath]) -> Loaded:
    """The policies of files and directories, with mistakes and warnings; raises nothing."""
    reader = _Reader()
    policies: dict[str, Policy] = {}
    files: dict[str, FilePath] = {}
    for file in _files(paths, reader.findings):
        draft = reader.merged(file)
        if files.setdefault(draft.name, file) != file:
            reader.findings.wrong(
                draft.file, f"there is another policy {draft.name}", "rename one of the two files"
            )
        if draft.name not in policies and not reader.broken(file):
            policies[draft.name] = build(draft)
    mistakes = tuple(sorted(set(reader.findings.mistakes)))
    return Loaded(
        policies if not mistakes else {n: p for n, p in policies.items() if _clean(p, mistakes)},
        mistakes,
        tuple(sorted(set(reader.findings.warnings))),
    )


def _clean(policy: Policy, mistakes: tuple[Mistake, ...]) -> bool:
    files = {source.file for source in policy.sources.values()}
    return not any(m.file in files for m in mistakes)


def _files(paths: Iterable[str | FilePath], findings: Findings) -> list[FilePath]:
    found: list[FilePath] = []
    for path in map(FilePath, paths):
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(p for p in path.glob("*.toml") if not p.name.startswith("."))
        if not inside:
            where = Source(str(path), 1, "")
            findings.wrong(where, "the directory holds no policy", "write one, NAME.toml")
        found.extend(inside)
    return list(dict.fromkeys(found))


@dataclass(slots=True)
class _Reader:
    """Reads each file once, however many policies extend it."""

    findings: Findings = field(default_factory=Findings)
    drafts: dict[FilePath, Draft] = field(default_factory=dict)
    whole: dict[FilePath, Draft] = field(default_factory=dict)
    bad: set[FilePath] = field(default_factory=set)

    def merged(self, file: FilePath) -> Draft:
        """The draft of a file over its bases, judged."""
        if file not in self.whole:
            before = len(self.findings.mistakes)
            self.whole[file] = self._merge(file, ())
            if not self.whole[file].incomplete:
                judge(self.whole[file], self.findings)
            if len(self.findings.mistakes) > before:
                self.bad.add(file)
        return self.whole[file]

    def broken(self, file: FilePath) -> bool:
        """Whether a mistake was found in the file or in one of its bases."""
        files = {str(f) for f in self.drafts if f in self._chain(file)}
        return file in self.bad or any(m.file in files for m in self.findings.mistakes)

    def _chain(self, file: FilePath) -> list[FilePath]:
        chain = [file]
        while (base := self._base(chain[-1])) is not None and base not in chain:
            chain.append(base)
        return chain

    def _base(self, file: FilePath) -> FilePath | None:
        line = self.drafts[file].settings.get("extends") if file in self.drafts else None
        return file.parent / f"{line.value}.toml" if line is not None else None

    def _draft(self, file: FilePath) -> Draft:
        if file not in self.drafts:
            self.drafts[file] = read_draft(file, str(file), self.findings)
        return self.drafts[file]

    def _merge(self, file: FilePath, below: tuple[FilePath, ...]) -> Draft:
        draft = self._draft(file)
        base = self._base(file)
        if base is None:
            return draft
        source = draft.settings["extends"].source
        draft.incomplete = True
        if base == file or base in below:
            circle = (*below[below.index(base) :], file, base) if base in below else (file, base)
            names = " extends ".join(f.stem for f in circle)
            self.findings.wrong(
                source, f"extends goes in a circle: {names}", "take one of them out"
            )
            return draft
        if not base.is_file():
            others = [p.stem for p in file.parent.glob("*.toml") if p != file]
            self.findings.wrong(
                source,
                f"there is no policy {base.stem} beside this file",
                offer(base.stem, others, "take extends out"),
            )
            return draft
        draft.incomplete = False
        return merge(self._merge(base, (*below, file)), draft, self.findings)
