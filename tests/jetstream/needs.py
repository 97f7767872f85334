"""Imported first by tests that need nats-py: without it they are skipped, or fail where that is asked for."""

import pytest

from tests.conftest import find_peer, peers_are_required

if find_peer("nats") is None and not peers_are_required():
    pytest.skip("the peer 'nats' is not installed here", allow_module_level=True)
