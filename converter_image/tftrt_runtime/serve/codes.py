"""The codes that requests are answered with, by gRPC's names (grpc.io/docs/guides/status-codes)."""

INVALID_ARGUMENT = "INVALID_ARGUMENT"
UNAVAILABLE = "UNAVAILABLE"
CANCELLED = "CANCELLED"
INTERNAL = "INTERNAL"
