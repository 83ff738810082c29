"""A merged draft without mistakes to the frozen :class:`Policy`, with its digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from proxy.policy.draft import Draft
from proxy.policy.model import (
    ExtensionRule,
    Method,
    PathRule,
    Policy,
    SearchSettings,
    Source,
    TypeRule,
)


def build(draft: Draft) -> Policy:
    """The policy of a draft in which no mistake was found."""
    policy = Policy(
        name=draft.name,
        title=_text(draft, "title", ""),
        basis=_text(draft, "basis", ""),
        identity=draft.identity,
        access=_access(draft),
        # A base may leave open what its children must say; until then nothing shows an id.
        ids_default=_text(draft, "ids.default", "real" if draft.identity else "pseudonym"),
        ids={k: str(s.value) for k, s in draft.under("ids").items() if k != "default"},
        elements=tuple(
            PathRule(line.path.steps, line.method, line.source) for line in draft.elements.values()
        ),
        datatypes={
            key: TypeRule(key, line.method, line.source) for key, line in draft.datatypes.items()
        },
        extensions={
            url: ExtensionRule(url, line.parts, line.source)
            for url, line in draft.extensions.items()
        },
        codes=_texts(draft, "codes.systems"),
        rows=dict(draft.rows),
        labels=_texts(draft, "labels") or (),
        requires=_texts(draft, "requires") or (),
        profiles=_texts(draft, "profiles") or (),
        ages=_number(draft, "ages.oldest"),
        document=_text(draft, "document", ""),
        search=SearchSettings(
            page_size=_number(draft, "search.page-size") or SearchSettings().page_size,
            total=_text(draft, "search.total", SearchSettings().total),
            window=_number(draft, "search.window") or SearchSettings().window,
            include=_texts(draft, "search.include") or (),
            chain=_texts(draft, "search.chain") or (),
        ),
        sources=_sources(draft),
        served=bool(_access(draft)),
    )
    return replace(policy, digest=digest(policy))


def digest(policy: Policy) -> str:
    """Hex SHA-256 of what the policy says, merged: where its lines stand makes no difference."""
    form: dict[str, object] = {
        "name": policy.name,
        "title": policy.title,
        "basis": policy.basis,
        "identity": policy.identity,
        "access": {kind: sorted(names) for kind, names in policy.access.items()},
        "ids": {"": policy.ids_default, **policy.ids},
        "elements": sorted(
            [[[s.name, s.predicate] for s in r.steps], _method(r.method)] for r in policy.elements
        ),
        "datatypes": {key: _method(rule.method) for key, rule in policy.datatypes.items()},
        "extensions": {url: rule.parts for url, rule in policy.extensions.items()},
        "codes": policy.codes,
        "rows": {kind: [[r.search, r.where] for r in held] for kind, held in policy.rows.items()},
        "labels": policy.labels,
        "profiles": policy.profiles,
        "ages": policy.ages,
        "search": [
            policy.search.page_size,
            policy.search.total,
            policy.search.window,
            policy.search.include,
            policy.search.chain,
        ],
    }
    if policy.requires:
        form["requires"] = policy.requires
    if policy.document:
        form["document"] = policy.document
    text = json.dumps(form, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _method(method: Method) -> list[object]:
    return [method.name, method.params]


def _access(draft: Draft) -> dict[str, frozenset[str]]:
    return {
        kind: frozenset(s.value)
        for kind, s in draft.under("access").items()
        if isinstance(s.value, tuple) and s.value
    }


def _sources(draft: Draft) -> dict[str, Source]:
    """Every line by its full key, for ``explain`` and the audit."""
    sources = {key: setting.source for key, setting in draft.settings.items()}
    sources |= {f"elements.{key}": line.source for key, line in draft.elements.items()}
    sources |= {f"datatypes.{key}": line.source for key, line in draft.datatypes.items()}
    sources |= {f"extensions.{key}": line.source for key, line in draft.extensions.items()}
    sources |= {f"rows.{kind}": held[-1].source for kind, held in draft.rows.items()}
    return sources


def _text(draft: Draft, key: str, default: str) -> str:
    return str(draft.settings[key].value) if key in draft.settings else default


def _number(draft: Draft, key: str) -> int | None:
    value = draft.settings[key].value if key in draft.settings else None
    return value if isinstance(value, int) else None


def _texts(draft: Draft, key: str) -> tuple[str, ...] | None:
    value = draft.settings[key].value if key in draft.settings else None
    return value if isinstance(value, tuple) else None
