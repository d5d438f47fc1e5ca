"""The `fpj` command, also installed as `kubectl-fpj`."""
