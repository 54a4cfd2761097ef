"""`quorate member`: who belongs to the cluster."""
