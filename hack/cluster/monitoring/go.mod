// The CustomResourceDefinitions of Prometheus' operator lie in its module: what the chart's monitors are checked against.
module fpj.dev/hack/cluster/monitoring

go 1.23

require github.com/prometheus-operator/prometheus-operator v0.80.1
