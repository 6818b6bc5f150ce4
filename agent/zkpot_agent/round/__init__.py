"""One round as a device sees it: a pure state machine, like the aggregator's."""
