"""From spec and facts to manifests: one file a kind of object."""
