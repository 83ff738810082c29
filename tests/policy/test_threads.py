"""A view is shared by threads from its first use on."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from proxy.demo.generator import cases
from proxy.fhir.codec import JsonObject, decode, encode
from proxy.policy.compile import View, compile_view
from tests.views import UPSTREAM, Case, find_policy

THREADS, ROUNDS = 8, 5


def test_a_view_is_compiled_once_for_all_threads() -> None:
    """Threads that are the first to use a view all get what it shows, whole."""
    policy = "researcher-limited"
    (case,) = cases(1, base=UPSTREAM)
    document = decode(encode(case.eicr))
    assert isinstance(document, dict)
    expected = encode(Case(policy).reveal(document))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns in the middle of compiling
    try:
        for _ in range(ROUNDS):
            assert set(reveal_at_once(compile_view(find_policy(policy)), document)) == {expected}
    finally:
        sys.setswitchinterval(interval)


def reveal_at_once(view: View, document: JsonObject) -> list[bytes]:
    """What each of the threads is shown, all of which begin together."""
    ready = Barrier(THREADS)

    def reveal(number: int) -> bytes:
        ready.wait()
        return encode(view.reveal(document, Case(view.name).scope()))

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(reveal, range(THREADS)))
