"""Object stores: the driver, repeated requests, and messages without credentials."""
