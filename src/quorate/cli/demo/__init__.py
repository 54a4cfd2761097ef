"""`quorate demo`: real processes are killed while clients write, then every write is checked."""
