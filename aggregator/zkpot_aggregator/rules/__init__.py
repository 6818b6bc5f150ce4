"""Rules that turn opened models into a global model, in plain mode; one file per rule."""
