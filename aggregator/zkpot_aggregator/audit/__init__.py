"""Re-verifying a whole task from chain and content store alone."""
