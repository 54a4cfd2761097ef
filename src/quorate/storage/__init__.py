"""What is on disk: the write-ahead log, snapshots, the directory's identity; and a disk in memory.

`store.Store` is the door. A driver needs besides a disk to give to it, its snapshots, which are
written and read beside the log, and the errors that both raise. Nothing here knows a thread, a
clock or a real file: those are behind `disk.Disk`.
"""
