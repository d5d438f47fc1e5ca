// The CustomResourceDefinitions of the Gateway API lie in its module: what the chart's HTTPRoute is checked against.
module fpj.dev/hack/cluster/gateway

go 1.23

require sigs.k8s.io/gateway-api v1.2.1
