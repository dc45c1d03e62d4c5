"""The GPU: what CUDA and TensorRT say of it, and the memory that a server takes of it."""
