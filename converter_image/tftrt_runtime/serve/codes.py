"""The codes that requests are answered with, by gRPC's names (grpc.io/docs/guides/status-codes)."""

OK = "OK"
INVALID_ARGUMENT = "INVALID_ARGUMENT"
UNAVAILABLE = "UNAVAILABLE"
CANCELLED = "CANCELLED"
INTERNAL = "INTERNAL"

ALL = (OK, INVALID_ARGUMENT, UNAVAILABLE, CANCELLED, INTERNAL)
