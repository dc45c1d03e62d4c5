"""The command line: steps of a Job, which work by a spec, and commands for people, who have none."""
