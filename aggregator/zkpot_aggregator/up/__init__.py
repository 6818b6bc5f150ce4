"""`up`: a whole task on this machine, with the real broker, chain and content store."""
