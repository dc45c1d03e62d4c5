"""What `tftrt fetch` is made of: trees of files behind URIs, archives, and what must be in a model's tree."""
