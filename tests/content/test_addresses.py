"""Addresses that are none: named by what they are for, and never repeated."""

from collections.abc import Callable

import pytest

from zkpot.errors import ExitCode, Fatal
from zkpot_aggregator.content.gateway import GatewayStore
from zkpot_aggregator.content.kubo import KuboStore
from zkpot_aggregator.ledger.endpoint import connect

SECRET = "a-token"
CONNECTING: dict[str, Callable[[str], object]] = {
    "node": lambda url: connect(url, 1),
    "gateway": GatewayStore,
    "daemon": KuboStore,
}


@pytest.mark.parametrize("connecting", CONNECTING)
@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://",
        f"ftp://user:{SECRET}@example.org",
        f"http://[::1/{SECRET}",
        f"http://example.org:99999/{SECRET}",
        f"http://example.org:port/{SECRET}",
        f"{SECRET}.example.org",
    ],
)
def test_no_address_is_an_error_of_the_configuration(connecting: str, url: str) -> None:
    with pytest.raises(Fatal, match=f"{connecting}'s url") as caught:
        CONNECTING[connecting](url)
    assert caught.value.exit_code is ExitCode.CONFIG
    assert SECRET not in str(caught.value)
