"""Does a converted model answer as the unconverted one? `verify` is the parent; `reference` and `check` are not."""
