// The custom resource definitions that examples/gateway.yaml is held against; nothing of it is built.
module tools/gateway

go 1.26.0

require (
	github.com/envoyproxy/gateway v1.9.1
	sigs.k8s.io/gateway-api v1.6.1
)
