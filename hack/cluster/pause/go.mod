module fpj.dev/hack/cluster/pause

go 1.24
