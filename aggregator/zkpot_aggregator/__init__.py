"""The aggregator's side: runs rounds, verifies, aggregates, records and audits."""
