"""The wire: codec, signed envelope, messages and topics."""
