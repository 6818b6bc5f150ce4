"""The content store: blocks and objects by their CIDs."""
