"""The ledger and the content store that the configuration asks for."""

import contextlib

from zkpot_aggregator.config import AggregatorConfig, ContentConfig
from zkpot_aggregator.content.directory import DirectoryStore
from zkpot_aggregator.content.gateway import GatewayStore
from zkpot_aggregator.content.kubo import KuboStore
from zkpot_aggregator.content.mirror import MirroredStore
from zkpot_aggregator.content.retention import PrunedStore
from zkpot_aggregator.layout import Layout
from zkpot_aggregator.ledger.base import Ledger
from zkpot_aggregator.ledger.embedded import EmbeddedLedger
from zkpot_aggregator.ledger.jsonrpc import JsonRpcLedger


def open_ledger(config: AggregatorConfig, layout: Layout, stack: contextlib.ExitStack) -> Ledger:
    """The ledger, until `stack` is closed."""
    if config.ledger.settings is None:
        return stack.enter_context(EmbeddedLedger.open(layout.chain))
    return stack.enter_context(JsonRpcLedger.open(config.ledger.settings, layout.calls))


def open_content(config: ContentConfig, layout: Layout, stack: contextlib.ExitStack) -> PrunedStore:
    """The content store, until `stack` is closed; blocks always lie in the state directory too."""
    local, settings = DirectoryStore(layout.content), config.settings
    if settings is None:
        return local
    daemon = stack.enter_context(
        KuboStore(settings.url, timeout_s=settings.timeout_s, lookup_s=settings.lookup_s)
    )
    gateways = [GatewayStore(url, timeout_s=settings.timeout_s) for url in settings.gateways]
    for gateway in gateways:
        stack.callback(gateway.close)
    return MirroredStore(local, daemon, gateways)
