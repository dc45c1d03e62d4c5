"""tftrt-operator: TensorFlow models converted with TensorRT and served on Kubernetes."""
