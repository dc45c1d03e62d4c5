"""How long things may take and how much may wait, in one place because the numbers depend on each other.

When a pod ends, its preStop hook `tftrt drain` takes LEAST_SECONDS, and longer where calls are in flight: up to
CALL_SECONDS, which one call may take. Then ENDED_SECONDS are for connections that nobody uses. SIGTERM follows, and
tritonserver, with nothing left to answer, may take EXIT_TIMEOUT_SECONDS + KILL_SECONDS. The pod's
terminationGracePeriodSeconds must be more than all of them together.
"""

# From the end of a pod until those who send requests have heard of it: EndpointSlices reach kube-proxy within a second
# or two. A client that was told to connect anew before that would come back to the same pod.
ENDPOINT_SECONDS = 5
# Until load balancers that look every few seconds have heard of it, too. From ENDPOINT_SECONDS until then each client
# is told at its next call to connect anew; a connection on which nothing is asked in all this time is ended.
LEAST_SECONDS = 20
# The same time for SIGTERM without the hook, where no endpoint moves.
CLOSING_SECONDS = 5
# The longest that a call may take, its wait in the queue included, on a server that ends: docs/how-it-works.md.
CALL_SECONDS = 120
# For idle connections to end: connections.c closes what has been idle for a second.
ENDED_SECONDS = 3
EXIT_TIMEOUT_SECONDS = 30
# What tritonserver gets beyond its own time to exit before it is killed.
KILL_SECONDS = 5

# Batches that the model computes at a time.
BATCHES_IN_FLIGHT = 2
# Batches that are under way: one more is being copied to where it is computed, or its answers to their clients.
SLOTS = BATCHES_IN_FLIGHT + 1
