"""Where URIs lead: mounted claims, object stores and web servers."""
