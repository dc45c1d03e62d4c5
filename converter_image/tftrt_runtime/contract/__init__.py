"""What operator and converter agree upon: spec, artifact and manifest, exit codes, how a container tells its end."""
