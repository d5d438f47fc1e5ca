"""What may go wrong with a cluster."""


class ClusterError(Exception):
    """A cluster could not be started, reached or ended; the message says why and what to do."""
