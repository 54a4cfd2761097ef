"""`quorate swarm`: many lives of simulated clusters, and a page on one of them."""
