"""Requests that are wrong in every way, at a server beside honest ones; `python -m tests.bad_requests` is the long run.

`request` is a request as both protocols write it, `cases` are the ways to be wrong and what each must be answered,
`http` and `grpc` send them, `memory` watches the server's processes, and `run` does all that at once beside honest
clients.
"""
