"""`quorate lab`: the course's tests on all cores, and what they print."""
