"""`quorate swarm`: whole clusters in the simulator, by the thousand."""
