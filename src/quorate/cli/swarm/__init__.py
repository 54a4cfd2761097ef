"""`quorate swarm`: whole clusters in the simulator by the thousand, and a page on one of them."""
