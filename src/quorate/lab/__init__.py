"""The course's tests: its network, persister, harnesses, scenarios and result lines.

MIT 6.824 (now 6.5840) grades a Raft library and a key/value service with a test suite; this is the
same suite over the production code of this project, in virtual or in real time. docs/lab.md tells
how to run it and what it has shown.
"""
