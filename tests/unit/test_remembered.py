"""What is remembered of pure functions is what they would return."""

from dataclasses import dataclass

from tftrt_operator.domain.manifests.service import service
from tftrt_operator.domain.remembered import MOST, remembered

from .builders import trtmodel


@dataclass(frozen=True)
class Value:
    number: int


def test_the_very_same_value_is_computed_once_and_an_equal_one_anew() -> None:
    asked: list[int] = []

    @remembered(lambda value: id(value))
    def doubled(value: Value) -> int:
        asked.append(value.number)
        return 2 * value.number

    one, other = Value(1), Value(1)
    assert [doubled(one), doubled(one), doubled(other)] == [2, 2, 2]
    assert asked == [1, 1]


def test_no_other_value_gets_the_id_of_one_that_is_remembered_and_few_are() -> None:
    @remembered(lambda value: id(value))
    def number(value: Value) -> int:
        return value.number

    # Each is let go of by its maker at once, so that ids would be used again.
    assert [number(Value(one)) for one in range(3 * MOST)] == list(range(3 * MOST))
    results = number.__closure__
    assert results is not None
    assert max(len(cell.cell_contents) for cell in results if isinstance(cell.cell_contents, dict)) == MOST


def test_what_is_made_of_a_model_is_made_anew_for_its_namesake_and_not_for_its_next_status() -> None:
    model = trtmodel()
    spoken_of = model.model_copy(update={"status": model.status.model_copy(update={"fingerprint": "ab"})})
    assert service(spoken_of) is service(model)
    metadata = model.metadata.model_copy(update={"uid": "uid-namesake"})
    namesake = service(model.model_copy(update={"metadata": metadata}))
    assert namesake.body["metadata"]["ownerReferences"][0]["uid"] == "uid-namesake"
