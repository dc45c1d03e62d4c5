"""The steps of a Job, each a container: `lookup`, `fetch`, `convert`, `publish`; and `delete`, a Job of its own."""
