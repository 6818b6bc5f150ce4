"""A validator: re-verifies what the aggregator does, attests it, and reports faults."""
