"""Local training: from the global model to a new integer model, on the device's own data."""
