"""What must exist, and what is true. Pure: frozen values in, frozen values out, no clock, no I/O."""
