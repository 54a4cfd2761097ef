"""What a world is like: each choice drawn by itself, from values that make a difference."""

import random

from quorate.clerk.settings import ClerkSettings
from quorate.node.limits import NodeLimits
from quorate.node.settings import NodeSettings
from quorate.raft.settings import Settings
from quorate.replica.sessions import SessionLimits
from quorate.replica.snapshot_taker import NEVER, SnapshotSettings
from quorate.sim.clients import ClientSettings
from quorate.sim.network import NetworkFaults
from quorate.sim.server import ServerSettings

_EXACT = (1000,)
_GOOD = (990, 1000, 1010)
_WILD = (300, 700, 1000, 1500)
CLOCK_RATES = (_EXACT, _GOOD, _WILD, _WILD)
"""In permille: one of them is a world's choice, and each server draws its rate from it."""


def draw_network_faults(rng: random.Random) -> NetworkFaults:
    """How bad the network is."""
    return NetworkFaults(
        loss=rng.choice((0.0, 0.02, 0.1, 0.2)),
        duplication=rng.choice((0.0, 0.02, 0.1)),
        latency_us=rng.choice((200, 1_000, 5_000)),
        stray=rng.choice((0.0, 0.01, 0.05)),
        split=rng.choice((0.0, 0.1)),
    )


def draw_server_settings(
    rng: random.Random, *, sending_factor: int, patience: int
) -> ServerSettings:
    """What all servers are like, but for what is given; `patience` is that of `Life`."""
    # Few places with the usual protection could keep a Clerk waiting beyond the healing time.
    client_sessions, protected_ms = rng.choice(((2, 200), (10_000, 60_000)))
    max_raft_state = rng.choice((NEVER, NEVER, 1, 500, 2_000, 5_000, 30_000))
    return ServerSettings(
        node=NodeSettings(
            raft=Settings(
                election_timeout_us=patience * rng.choice((60_000, 100_000, 250_000)),
                heartbeat_interval_us=patience * rng.choice((15_000, 30_000, 50_000)),
                append_timeout_us=patience * rng.choice((20_000, 60_000, 150_000)),
                forward_timeout_us=rng.choice((200_000, 1_000_000)),
                max_appends_in_flight=rng.choice((1, 4, 8)),
                max_append_bytes=rng.choice((1, 256, 1024 * 1024)),
                max_write_bytes=rng.choice((1, 512, 8 * 1024 * 1024)),
                max_committed_bytes=rng.choice((1, 1_024, 256 * 1024)),
                max_chunk_bytes=rng.choice((2_000, 20_000, 512 * 1024)),
            ),
            limits=NodeLimits(
                command_timeout_us=rng.choice((300_000, 1_000_000, 3_000_000)),
                own_window=rng.choice((4, 32_768)),
            ),
            sessions=SessionLimits(
                window=rng.choice((8, 1_024)),
                ordered_window=rng.choice((16, 65_536)),
                reply_bytes=rng.choice((64, 1024 * 1024)),
                ordered_reply_bytes=rng.choice((256, 16 * 1024 * 1024)),
                client_sessions=client_sessions,
                protected_ms=protected_ms,
                ttl_ms=rng.choice((200, 1_000, 1_800_000)),
            ),
            snapshots=SnapshotSettings(
                max_raft_state=max_raft_state,
                part_bytes=rng.choice((1, 128 * 1024)),
                pause_us=rng.choice((0, 2_000, 20_000)),
                retry_us=rng.choice((20_000, 500_000)),
                sending_factor=sending_factor,
            ),
        ),
        sync_us=rng.choice((200, 2_000, 10_000)),
        slow_sync=rng.choice((0.0, 0.002, 0.02)),
        segment_size=rng.choice((2_048, 16_384, 262_144)),
        call_pause_us=patience * 100_000,
        turn_us=patience * patience * 20,
    )


def draw_sending_factor(seed: int) -> int:
    """For how long a leader waits for followers that are brought up.

    From chances of its own, so that each world has what it had before there was this choice.
    """
    return random.Random(f"sending factor of {seed}").choice((1, 1, 3, 8))


def draw_client_settings(rng: random.Random, *, leisure_us: int) -> ClientSettings:
    """What one client is like; `leisure_us` is that of `Life`."""
    return ClientSettings(
        reads=rng.choice((0.0, 0.1, 0.3, 0.6)),
        pause_us=leisure_us + rng.choice((10_000, 30_000, 100_000)),
        deadlines=rng.choice((0.0, 0.1, 0.5)),
        pipeline=rng.choice((5, 12)),
        clerk=ClerkSettings(
            reply_timeout_us=rng.choice((200_000, 1_000_000, 5_000_000)),
            leader_check_us=rng.choice((300_000, 5_000_000)),
        ),
    )
