"""How a run ends that does not pass, what the lines look like, and how tests are chosen."""

import pytest

from quorate.lab.edition import Edition
from quorate.lab.errors import CheckFailedError
from quorate.lab.results import SECOND_US, Lab, Result
from quorate.lab.runner import ClockKind, Outcome, play_scenario
from quorate.lab.scenario import Scenario
from quorate.lab.suite import ON_REQUEST, SCENARIOS, choose, find
from quorate.lab.world import World
from quorate.sim.tasks import Future


def outcome_of(run: object) -> Outcome:
    scenario = Scenario(name="TestStory2A", part="2A", variant="production", run=run)  # type: ignore[arg-type]
    played = play_scenario(scenario, seed=1, clock=ClockKind.VIRTUAL, edition=Edition.Y2018)
    return played.outcome


def test_a_failed_check_is_told_in_its_own_words() -> None:
    async def story(world: World) -> None:
        world.begin("Test (2A): story")
        await world.sleep(1_500)
        raise CheckFailedError("expected one leader, got none")

    outcome = outcome_of(story)
    assert outcome.failure == "expected one leader, got none"
    assert outcome.lines == ["Test (2A): story ..."]
    assert outcome.duration_us == 1_500_000


def test_parts_that_have_passed_keep_their_lines() -> None:
    async def story(world: World) -> None:
        for number in (1, 2):
            world.begin(f"Test: part {number} (3A)")
            if number == 2:
                raise CheckFailedError("no")
            await world.sleep(1_000)
            world.end(Lab.KEY_VALUE, servers=5, operations=2)

    assert outcome_of(story).lines == [
        "Test: part 1 (3A) ...",
        "  ... Passed --   1.0  5     0    2",
        "Test: part 2 (3A) ...",
    ]


def test_a_failed_assertion_of_the_product_is_told_with_its_place() -> None:
    async def story(world: World) -> None:
        await world.sleep(1)
        assert world.tasks.now < 0, "planted"

    outcome = outcome_of(story)
    assert outcome.failure is not None
    assert "planted" in outcome.failure
    assert "in story" in outcome.details


def test_an_error_that_is_no_assertion_comes_out() -> None:
    async def story(world: World) -> None:
        raise ZeroDivisionError(world.edition)

    with pytest.raises(ZeroDivisionError):
        outcome_of(story)


def test_a_test_that_hangs_fails() -> None:
    async def story(_: World) -> None:
        await Future[None]()

    assert outcome_of(story).failure == "test hung: it did not end within 600 seconds"


def test_a_test_must_not_take_longer_than_two_minutes() -> None:
    async def story(world: World) -> None:
        await world.sleep(120_001)

    assert outcome_of(story).failure == "test took longer than 120 seconds"


def test_no_task_outlives_the_test() -> None:
    ended = []

    async def straggler(world: World) -> None:
        try:
            await world.sleep(1_000)
        finally:
            ended.append(world.tasks.now)

    async def story(world: World) -> None:
        world.tasks.spawn(straggler(world))
        await world.sleep(10)

    assert outcome_of(story).failure is None
    assert ended == [10_000]


# --------------------------------------------------------------------- lines


def result(seconds: float, servers: int, calls: int, operations: int, size: int = 0) -> Result:
    return Result(
        title="",
        duration_us=round(seconds * SECOND_US),
        servers=servers,
        calls=calls,
        bytes=size,
        operations=operations,
    )


def test_result_lines_are_the_course_s() -> None:
    key_value, raft = Lab.KEY_VALUE, Lab.RAFT
    old, new = Edition.Y2018, Edition.Y2022
    row = result(15.1, 5, 12882, 2587)
    assert row.line(key_value, old) == "  ... Passed --  15.1  5 12882 2587"
    row = result(1.0, 5, 54, 3)
    assert row.line(key_value, new) == "  ... Passed --   1.0  5    54    3"
    row = result(0.8, 5, 36, 3, size=9)
    assert row.line(raft, old) == "  ... Passed --   0.8  5   36    3"
    row = result(1.5, 3, 48, 11, size=111434)
    assert row.line(raft, new) == "  ... Passed --   1.5  3   48  111434   11"


def test_fields_grow_when_a_number_is_wider() -> None:
    row = result(117.25, 5, 123372, 24718)
    assert row.line(Lab.KEY_VALUE, Edition.Y2018) == "  ... Passed --  117.2  5 123372 24718"


# --------------------------------------------------------------------- choosing


def test_without_a_pattern_all_are_chosen() -> None:
    assert choose([]) == [each for each in SCENARIOS if each.variant not in ON_REQUEST]


@pytest.mark.parametrize("pattern", ["TestBackup2B", "Backup2B", "Backup", "TestBack"])
def test_one_is_chosen_by_its_name_or_the_beginning_of_it(pattern: str) -> None:
    assert {scenario.name for scenario in choose([pattern])} == {"TestBackup2B"}


def test_a_part_and_a_lab_are_chosen_by_their_numbers() -> None:
    assert {scenario.part for scenario in choose(["2B"])} == {"2B"}
    assert {scenario.part for scenario in choose(["2"])} == {"2A", "2B", "2C", "2D"}


def test_the_chosen_stay_in_order() -> None:
    chosen = choose(["2C", "2A"], "production")
    assert chosen == [
        scenario
        for scenario in SCENARIOS
        if scenario.part in ("2A", "2C") and scenario.variant == "production"
    ]


def test_a_pattern_that_fits_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no test of the lab fits '7Q'"):
        choose(["2A", "7Q"])


def test_every_scenario_can_be_found() -> None:
    for scenario in SCENARIOS:
        assert find(scenario.name, scenario.variant) is scenario
