"""The circuit breaker: opens after failures in a row, probes once, closes on a success."""

from __future__ import annotations

from proxy.shell.breaker import Breaker


def opened() -> Breaker:
    """A breaker that has just opened, at 100 s, for 5 s."""
    breaker = Breaker(failures=3, pause=5.0)
    for _ in range(3):
        assert breaker.closed_for(100.0) == 0
        breaker.note(True, 100.0)
    return breaker


def test_success_between_failures_keeps_it_closed() -> None:
    """Only failures in a row open it."""
    breaker = Breaker(failures=3, pause=5.0)
    for failed in (True, True, False, True, True):
        breaker.note(failed, 100.0)
    assert not breaker.open
    assert breaker.closed_for(100.0) == 0


def test_open_refuses_for_its_pause() -> None:
    """It says for how long, in whole seconds, at least one."""
    breaker = opened()
    assert breaker.open
    assert [breaker.closed_for(now) for now in (100.0, 103.5, 104.9)] == [5, 2, 1]


def test_one_probe_at_a_time() -> None:
    """After the pause one request may go; the others wait for what becomes of it."""
    breaker = opened()
    assert [breaker.closed_for(105.0) for _ in range(3)] == [0, 1, 1]
    breaker.note(True, 106.0)
    assert breaker.closed_for(106.0) == 5
    assert breaker.closed_for(111.0) == 0
    breaker.note(False, 112.0)
    assert not breaker.open
    assert [breaker.closed_for(112.0) for _ in range(3)] == [0, 0, 0]


def test_cancelled_probe_says_nothing() -> None:
    """A probe whose client has gone lets the next request try."""
    breaker = opened()
    assert breaker.closed_for(105.0) == 0
    breaker.release()
    assert breaker.closed_for(105.0) == 0
