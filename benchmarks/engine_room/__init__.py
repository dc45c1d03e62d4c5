"""What the operator costs and how fast it is, on a real API server, beside an older build of it.

The control plane is etcd and the API server alone. A driver applies the TRTModels, and plays the controllers of Jobs
and Deployments and the kubelet; what the operator asks is read from the API server's audit log, with its times. The
operator is a process of its own with the rights that its chart gives it. Each run has a control plane of its own.

What is measured, at each size:

- phase 1: from just before the first TRTModel is sent to the answer to the creation of the last Job;
- phase 2: from just before the first Job is said to be done, all at once, to the answer to the creation of the last
  Deployment, Service or policy; and beside it what a bare client reaches with the same account, which sends the same
  writes, status and Events included, as many models at a time as the operator has workers, and decides nothing;
- between them each step of a pod's life is played for all models, and the next one once the operator writes nothing
  more, so that it sees each of them: no step is merged with the one after it;
- CPU of the operator's process, user and system; its resident memory; its requests and writes;
- its start with all models Ready, and minutes in which nothing happens;
- from just before a spec change is sent to the time at which the API server received the operator's first write for
  that model: with nothing else to do, and while other models are converted.
"""
