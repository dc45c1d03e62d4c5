"""What a part of the server costs, measured beside the server without it."""
