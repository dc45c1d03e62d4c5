"""Fairness between tenants: what an honest one waits beside a hostile one, on a real API server.

Of each TRTModel of the honest namespace the time is taken from just before its creation until a watch tells of its Job,
which is the first thing that the operator writes for it. They are created one after the other. The hostile namespace
has 64 TRTModels, and an admission webhook that takes 10 s over each of their Jobs and then refuses it, so that the
operator tries again for as long as the benchmark goes on. Each run has a control plane of its own, without nodes.

The operator runs from source and is the cluster's administrator. Requests of administrators are exempt from the API
server's own priority and fairness, so what is measured is the operator's.
"""
