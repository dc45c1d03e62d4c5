"""How long things may take and how much may wait, in one place because the numbers depend on each other.

The operator's pod sleeps PRE_STOP_SECONDS before SIGTERM, so that no new connection reaches a server that ends. A gRPC
connection outlives the removal of its endpoint, so each is closed by age: CONNECTION_AGE_SECONDS (gRPC spreads it by
10 %) plus CONNECTION_GRACE_SECONDS, in which calls in flight finish, must end before the sleep does.
terminationGracePeriodSeconds must be more than PRE_STOP_SECONDS + EXIT_TIMEOUT_SECONDS + KILL_SECONDS.
"""

PRE_STOP_SECONDS = 20
CONNECTION_AGE_SECONDS = 5
CONNECTION_GRACE_SECONDS = 13
EXIT_TIMEOUT_SECONDS = 30
# What tritonserver gets beyond its own time to exit before it is killed.
KILL_SECONDS = 5

# Batches that the model works on at a time: one is copied to or from the device while another one is computed.
BATCHES_IN_FLIGHT = 2
