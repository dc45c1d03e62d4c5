"""Faults between the operator and the API server, in every situation of a model's life: `make reliability`.

Everything is real but what a driver plays: an API server with etcd, and operators that are processes of their own, each
restricted to one namespace by the chart's namespaced mode. Between them stands a proxy. A run is one scenario (what
users and controllers do) with one fault (what the proxy does, at a write, a question or an event that is counted), and
it must end as the same scenario does without a fault: object by object, with as many Jobs, with nothing left to write,
and with nothing said of a model that was not so.
"""
