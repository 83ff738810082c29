"""The page for researchers says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from proxy.demo.generator import cases
from tests.rig import DEID, LDS, embedded, running
from tests.yardstick.charts import charted
from tests.yardstick.page import FILE, page
from tests.yardstick.test_yardstick import ALIAS
from tests.yardstick.yardstick import Pairs, encode

ROW = re.compile(r"^\| `([A-Z]\w+\?.+?)` \| (yes|no) \| (yes|no) \|", re.MULTILINE)


def test_the_list_stands_in_the_page() -> None:
    """What follows from the list is what the page holds: `python -m tests.yardstick.page`."""
    assert FILE.read_text("utf-8") == page()


async def test_examples_are_answered_as_the_page_says(tmp_path: Path) -> None:
    """Every row of the page's table is asked as both research roles."""
    rows = ROW.findall(FILE.read_text("utf-8"))
    assert len(rows) > 25
    (case,) = cases(1, base=ALIAS)
    story = case.story
    async with running(embedded(charted([case])), tmp_path, roles=[LDS, DEID]) as rig:
        wrong = []
        for text, *said in rows:
            for role, answered in zip((LDS, DEID), said, strict=True):
                type_name, _, query = text.replace("\\|", "|").partition("?")
                ids = {
                    "<p>": rig.id(role, "Patient", story.id("Patient", "patient")),
                    "<e>": rig.id(role, "Encounter", story.id("Encounter", "encounter")),
                }
                for mark, shown in ids.items():
                    query = query.replace(mark, shown)
                split = (pair.partition("=") for pair in query.split("&"))
                pairs: Pairs = tuple((name, value) for name, _, value in split)
                rig.diary.clear()
                answer = await rig.ask(role, encode(type_name, pairs))
                is_refused = answer.status in (400, 403) and not rig.diary
                if (answer.status == 200, is_refused) != (answered == "yes", answered == "no"):
                    wrong.append((role, text, answer.status))
    assert wrong == []
