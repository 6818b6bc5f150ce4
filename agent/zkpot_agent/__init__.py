"""The device's side: trains, commits, proves and answers for its own model."""
