"""Turns: no more at once than there are, the first in rank first, a stop heard."""

from __future__ import annotations

import threading
import time

import pytest

from runway_node.engine.turns import Turns
from runway_node.errors import Interrupted


def test_the_first_in_rank_goes_first_whenever_it_came():
    """The next turn is the earliest call's, not the longest waiting one's."""
    turns, never, order = Turns(1), threading.Event(), []

    def work(rank):
        with turns.take((rank,), never):
            order.append(rank)

    with turns.take((9,), never):
        crew = [threading.Thread(target=work, args=(rank,)) for rank in (3, 1, 2)]
        for thread in crew:
            thread.start()
            time.sleep(0.05)
    for thread in crew:
        thread.join()
    assert order == [1, 2, 3]


def test_a_stop_ends_the_wait_and_leaves_the_turns_as_they_were():
    """Whoever waits is told; the others go on."""
    turns, stop = Turns(1), threading.Event()
    with turns.take((0,), stop):
        stop.set()
        with pytest.raises(Interrupted), turns.take((1,), stop):
            pass
    with turns.take((2,), threading.Event()):
        pass
