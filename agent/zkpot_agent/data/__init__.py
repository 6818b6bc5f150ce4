"""Where a device's private samples come from."""
