"""The shell round the domain: it reads what is, lets the domain decide, and writes."""
