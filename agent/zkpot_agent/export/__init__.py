"""The integer model as files that standard runtimes execute, bit for bit."""
