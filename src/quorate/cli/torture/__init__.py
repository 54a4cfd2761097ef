"""`quorate torture`: real processes on real disks in a hostile world, and a judgement on them."""
