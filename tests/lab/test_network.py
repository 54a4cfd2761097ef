"""The network of the course by the course's own tests of it, on both clocks."""

import random
from collections.abc import Coroutine
from typing import Any

import pytest

from quorate.lab.costs import NOTHING, VIRTUAL, Costs
from quorate.lab.network import ClientEnd, LabNetwork, LabServer
from quorate.sim.pace import RealPace, VirtualPace
from quorate.sim.scheduler import Scheduler
from quorate.sim.tasks import Task, Tasks

MS = 1_000


class Junk:
    """A service with a method or two."""

    def __init__(self, tasks: Tasks) -> None:
        self.tasks = tasks
        self.log: list[bytes] = []

    async def handle(self, method: str, arguments: bytes) -> bytes:
        self.log.append(arguments)
        match method:
            case "Handler1":
                return b"handled " + arguments
            case "Handler2":
                return arguments[::-1]
            case "Sleep":
                await self.tasks.sleep(20_000 * MS)
                return b"slept"
            case "Sized":
                return bytes(int(arguments))
            case _:
                raise AssertionError(method)


class World:
    """A network with one server of the name 99."""

    def __init__(self, scheduler: Scheduler, costs: Costs, seed: int = 1) -> None:
        self.tasks = Tasks(scheduler)
        self.network = LabNetwork(self.tasks, random.Random(seed), costs)
        self.junk = Junk(self.tasks)
        self.network.add_server(99, LabServer({"Junk": self.junk}))

    def end(self, name: str = "end") -> ClientEnd:
        end = self.network.make_end(name)
        self.network.connect(name, 99)
        self.network.enable(name, enabled=True)
        return end

    def run(self, story: Coroutine[Any, Any, Any]) -> Any:
        try:
            return self.tasks.run(story)
        finally:
            self.tasks.cancel_all()


@pytest.fixture(params=["virtual", "real"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "virtual":
        return World(Scheduler(VirtualPace()), VIRTUAL)
    return World(Scheduler(RealPace()), NOTHING)


def virtual(seed: int = 1) -> World:
    return World(Scheduler(), VIRTUAL, seed)


def test_each_method_gets_its_call(world: World) -> None:
    end = world.end()

    async def story() -> None:
        assert await end.call("Junk.Handler1", b"9099") == b"handled 9099"
        assert await end.call("Junk.Handler2", b"111") == b"111"

    world.run(story())


def test_a_connected_end_that_is_not_enabled_reaches_nobody(world: World) -> None:
    end = world.network.make_end("end")
    world.network.connect("end", 99)

    async def story() -> None:
        assert await end.call("Junk.Handler1", b"1") is None
        assert world.junk.log == []
        world.network.enable("end", enabled=True)
        assert await end.call("Junk.Handler1", b"2") == b"handled 2"

    world.run(story())


def test_a_server_counts_what_was_handed_to_it(world: World) -> None:
    end = world.end()

    async def story() -> None:
        for _ in range(17):
            assert await end.call("Junk.Handler1", b"x") is not None

    world.run(story())
    assert world.network.count(99) == 17
    assert world.network.total_count == 17


def test_a_new_server_of_the_same_name_counts_from_zero(world: World) -> None:
    end = world.end()

    async def story() -> None:
        await end.call("Junk.Handler1", b"x")
        world.network.add_server(99, LabServer({"Junk": world.junk}))
        assert world.network.count(99) == 0
        assert await end.call("Junk.Handler1", b"y") == b"handled y"

    world.run(story())


def test_bytes_are_those_of_arguments_and_of_delivered_replies(world: World) -> None:
    end = world.end()

    async def story() -> None:
        for _ in range(17):
            await end.call("Junk.Handler2", bytes(284))
        assert world.network.total_bytes == 17 * 2 * 284
        world.network.enable("end", enabled=False)
        await end.call("Junk.Handler2", bytes(284))
        assert world.network.total_bytes == 17 * 2 * 284 + 284

    world.run(story())


def test_twenty_ends_at_once_get_each_its_own_answers(world: World) -> None:
    async def client(number: int) -> int:
        end = world.end(f"end {number}")
        right = 0
        for count in range(10):
            argument = b"%d" % (100 * number + count)
            right += await end.call("Junk.Handler1", argument) == b"handled " + argument
        return right

    async def story() -> int:
        clients = [world.tasks.spawn(client(number)) for number in range(20)]
        return sum([await each for each in clients])

    assert world.run(story()) == 200
    assert world.network.count(99) == 200


def test_an_unreliable_network_loses_some_and_not_all(world: World) -> None:
    world.network.reliable = False

    async def client(number: int) -> bool:
        return await world.end(f"end {number}").call("Junk.Handler1", b"x") is not None

    async def story() -> int:
        clients = [world.tasks.spawn(client(number)) for number in range(300)]
        return sum([await each for each in clients])

    assert 0 < world.run(story()) < 300


def test_an_unreliable_network_loses_one_request_and_one_reply_in_ten() -> None:
    world = virtual()
    world.network.reliable = False
    end = world.end()

    async def story() -> int:
        return sum([await end.call("Junk.Handler1", b"x") is not None for _ in range(10_000)])

    assert 7_900 < world.run(story()) < 8_300
    assert 8_850 < world.network.count(99) < 9_150


def test_calls_at_once_on_one_end_are_independent(world: World) -> None:
    end = world.end()

    async def story() -> None:
        calls = [end.start_call("Junk.Handler1", b"%d" % number) for number in range(20)]
        assert [await call for call in calls] == [b"handled %d" % number for number in range(20)]

    world.run(story())
    assert world.network.count(99) == 20


def test_calls_at_once_on_one_end_overtake_each_other() -> None:
    world = virtual()
    end = world.end()

    async def story() -> None:
        for call in [end.start_call("Junk.Handler1", b"%d" % number) for number in range(20)]:
            await call

    world.run(story())
    assert world.junk.log != [b"%d" % number for number in range(20)]


def test_calls_that_fail_late_don_t_hold_up_a_later_one(world: World) -> None:
    end = world.end()
    world.network.enable("end", enabled=False)

    async def story() -> None:
        for _ in range(20):
            end.start_call("Junk.Handler1", b"lost")
        await world.tasks.sleep(100 * MS)
        world.network.enable("end", enabled=True)
        begun = world.tasks.now
        assert await end.call("Junk.Handler1", b"x") == b"handled x"
        assert world.tasks.now - begun < 30 * MS

    world.run(story())
    assert world.network.count(99) == 1


def test_a_call_fails_within_100_ms_when_the_server_of_its_handler_is_deleted(
    world: World,
) -> None:
    end = world.end()

    async def story() -> None:
        call = end.start_call("Junk.Sleep", b"")
        await world.tasks.sleep(1_100 * MS)
        assert not call.is_done
        world.network.delete_server(99)
        begun = world.tasks.now
        assert await call is None
        assert world.tasks.now - begun <= 110 * MS

    world.run(story())


def test_a_call_fails_within_100_ms_when_its_end_is_disabled() -> None:
    world = virtual()
    end = world.end()

    async def story() -> None:
        call = end.start_call("Junk.Sleep", b"")
        await world.tasks.sleep(250 * MS)
        world.network.enable("end", enabled=False)
        begun = world.tasks.now
        assert await call is None
        assert world.tasks.now - begun <= 100 * MS

    world.run(story())


def test_what_a_replaced_server_answers_is_thrown_away() -> None:
    world = virtual()
    world.network.reliable = False
    end = world.end()

    async def story() -> None:
        calls = [end.start_call("Junk.Handler1", b"x") for _ in range(50)]
        world.network.add_server(99, LabServer({"Junk": Junk(world.tasks)}))
        assert {await call for call in calls} == {None}

    world.run(story())
    assert 30 < len(world.junk.log) <= 50, "the old object still gets them"
    assert world.network.count(99) == 0


def durations_of_failures(*, long_delays: bool) -> list[int]:
    world = virtual()
    world.network.long_delays = long_delays
    end = world.end()
    world.network.enable("end", enabled=False)

    async def one() -> int:
        assert await end.call("Junk.Handler1", b"x") is None
        return world.tasks.now

    async def story() -> list[int]:
        calls: list[Task[int]] = [world.tasks.spawn(one()) for _ in range(2_000)]
        return [await call for call in calls]

    return world.run(story())  # type: ignore[no-any-return]


def test_what_cannot_be_delivered_fails_after_up_to_a_tenth_of_a_second() -> None:
    durations = durations_of_failures(long_delays=False)
    assert min(durations) == 0
    assert max(durations) == 99 * MS


def test_with_long_delays_it_fails_after_up_to_seven_seconds() -> None:
    durations = durations_of_failures(long_delays=True)
    assert 6_900 * MS < max(durations) < 7_000 * MS
    assert sum(durations) / len(durations) == pytest.approx(3_500 * MS, rel=0.05)


def test_long_reordering_holds_two_replies_in_three_back() -> None:
    world = virtual()
    world.network.long_reordering = True
    end = world.end()

    async def one() -> int:
        assert await end.call("Junk.Handler1", b"x") is not None
        return world.tasks.now

    async def story() -> list[int]:
        calls = [world.tasks.spawn(one()) for _ in range(3_000)]
        return [await call for call in calls]

    durations: list[int] = world.run(story())
    late = [duration for duration in durations if duration > 199 * MS]
    assert len(late) / len(durations) == pytest.approx(2 / 3, abs=0.03)
    assert max(late) < 2_500 * MS
    assert sum(late) / len(late) == pytest.approx(790 * MS, rel=0.1)


def test_a_reply_held_back_arrives_though_its_end_was_disabled_since() -> None:
    world = virtual()
    world.network.long_reordering = True
    end = world.end()

    async def story() -> None:
        calls = [end.start_call("Junk.Handler1", b"x") for _ in range(50)]
        await world.tasks.sleep(100 * MS)
        world.network.enable("end", enabled=False)
        assert None not in [await call for call in calls]

    world.run(story())


def test_a_closed_network_fails_calls_at_once_and_uncounted() -> None:
    world = virtual()
    end = world.end()

    async def story() -> None:
        under_way = end.start_call("Junk.Handler1", b"x")
        world.network.close()
        before = world.tasks.now
        assert await end.call("Junk.Handler1", b"y") is None
        assert world.tasks.now == before
        assert await under_way == b"handled x"

    world.run(story())
    assert world.network.total_count == 1


def test_an_unknown_service_or_method_ends_the_run() -> None:
    for method in ("Nobody.Handler1", "Junk.Nothing"):
        world = virtual()
        end = world.end()
        with pytest.raises((KeyError, AssertionError)):
            world.run(end.call(method, b""))


def test_a_name_can_be_given_once() -> None:
    world = virtual()
    world.end("one")
    with pytest.raises(AssertionError):
        world.network.make_end("one")
    with pytest.raises(AssertionError):
        world.network.connect("one", 99)


def test_a_sequential_call_costs_a_few_tens_of_microseconds_of_the_machine() -> None:
    world = World(Scheduler(RealPace()), NOTHING)
    end = world.end()

    async def story() -> int:
        for _ in range(2_000):
            await end.call("Junk.Handler1", b"x")
        return world.tasks.now // 2_000

    assert world.run(story()) < 500
