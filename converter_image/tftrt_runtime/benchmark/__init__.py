"""How fast the converted model is beside the unconverted one: `run` is the parent, `timing` its child process."""
