// The custom resource definitions that the chart's monitors and alerts are held against; nothing of it is built.
module tools/monitoring

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
