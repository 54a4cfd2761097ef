"""What is on disk: the write-ahead log, the directory's identity, and the in-memory disk.

`store.Store` is the door; the simulator and the runtime use nothing else of this package but a
disk to give to it and the errors that it raises. Nothing here knows a thread, a clock or a real
file: those are behind `disk.Disk`.
"""
