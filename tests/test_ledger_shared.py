"""One ledger for all runs of a process: opened once, closed with the last, and of use after its database was away."""

from __future__ import annotations

import pytest

from runway_node.ledger import opened
from runway_node.settings import load_settings


def test_runs_share_one_ledger():
    """Two that are open at a time are one; the next after both is another."""
    settings = load_settings()
    with opened(settings) as first, opened(settings) as second:
        assert first is second
    with opened(settings) as third:
        assert third is not first


@pytest.mark.slow
def test_a_lost_session_ends_its_runs_and_no_later_one(database, postgres):
    """A batch that holds the ledger open while its sessions end begins the next row under a live token."""
    with opened(load_settings(database_url=database)) as ledger, ledger.holder() as before:
        assert ledger.alive(before)
        postgres.kill_sessions(database)
        with ledger.holder() as after:
            assert (ledger.alive(before), ledger.alive(after)) == (False, True)
