"""A deterministic world for whole clusters: virtual time, a bad network, faulty disks.

It runs the production node, storage, codec and Clerk; only driver, network and disk are its own.
A run is a function of its seed alone.
"""
