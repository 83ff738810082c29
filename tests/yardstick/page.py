"""The part of docs/searching.md that follows from the list: ``python -m tests.yardstick.page``
writes it."""

from __future__ import annotations

from tests.conftest import REPOSITORY
from tests.yardstick.yardstick import load

FILE = REPOSITORY / "docs" / "searching.md"
BEGIN = "<!-- made by: python -m tests.yardstick.page -->\n"
END = "<!-- end -->\n"
SHORT = {
    "epidemiologist": "epidemiologist",
    "researcher-limited": "limited",
    "researcher-deidentified": "de-identified",
}


def table() -> str:
    """One row a reason: why, the searches with who is refused them, what to ask instead."""
    found = load()
    lines = ["| why | refused | ask instead |", "|---|---|---|"]
    for name, refusal in found.refusals.items():
        asked = []
        for search in found.searches:
            roles = [SHORT[role] for role, why in search.refused.items() if why == name]
            if roles:
                asked.append(f"`{_cell(search.text)}` ({', '.join(sorted(roles))})")
        instead = _cell(refusal.instead.replace("{type}", "Type"))
        lines.append(f"| {refusal.reason} | {'<br>'.join(asked)} | `{instead}` |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def page() -> str:
    """The whole page as it should be."""
    text = FILE.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    FILE.write_text(page(), "utf-8")
