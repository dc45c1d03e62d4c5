"""What was measured, and what measures it."""
