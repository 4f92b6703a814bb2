"""Rows of a batch: placed, read back, divided among processes."""

from collections import namedtuple

import jax
import numpy as np
import pytest

from entropy_rl.parallelism import (
    MeshConfig,
    batch_sharding,
    gathered,
    held_rows,
    owned_rows,
    rows_on_host,
    share,
    share_rows,
    to_global,
)

Device = namedtuple("Device", ("number", "process_index"))


class Cut(jax.sharding.Sharding):
    """Rows over devices of several processes, as far as ownership asks about it."""

    def __init__(self, *shares: tuple[int, int, int]):
        """(process, first row, row after the last) of each device."""
        self._shares = shares

    def devices_indices_map(self, global_shape):
        return {
            Device(number, process): (slice(start, stop),)
            for number, (process, start, stop) in enumerate(self._shares)
        }


TWO_APART = Cut((0, 0, 3), (0, 3, 5), (1, 5, 6), (1, 6, 7))
THREE_ALIKE = Cut((0, 0, 5), (1, 0, 5), (2, 0, 5))
MORE_THAN_ROWS = Cut((0, 0, 1), (1, 0, 1), (2, 1, 2), (3, 1, 2))


@pytest.mark.parametrize(("cut", "rows"), [(TWO_APART, 7), (THREE_ALIKE, 5), (MORE_THAN_ROWS, 2)])
def test_every_row_has_one_owner_among_those_that_hold_it(cut, rows):
    owned = [owned_rows(cut, rows, process).tolist() for process in range(4)]
    assert sorted(row for mine in owned for row in mine) == list(range(rows))
    for process in range(4):
        assert set(owned[process]) <= set(held_rows(cut, rows, process).tolist())


def test_rows_that_many_hold_go_round():
    assert [owned_rows(THREE_ALIKE, 5, process).tolist() for process in range(3)] == [[0, 3], [1, 4], [2]]
    assert owned_rows(TWO_APART, 7, 1).tolist() == held_rows(TWO_APART, 7, 1).tolist() == [5, 6]


@pytest.fixture
def placement():
    return batch_sharding(MeshConfig(data=2, fsdp=2, tensor=2).build())


def test_what_is_placed_is_read_back_in_any_order_of_rows(placement):
    x_PS = np.arange(12 * 5, dtype=np.int32).reshape(12, 5)
    placed = to_global({"x": x_PS}, placement)["x"]
    assert placed.sharding.is_equivalent_to(placement, 2)
    rows = np.array([7, 0, 11, 3])
    np.testing.assert_array_equal(rows_on_host(placed, rows), x_PS[rows])
    np.testing.assert_array_equal(gathered(placed), x_PS)
    np.testing.assert_array_equal(gathered(placed, 7), x_PS[7])


def test_one_process_shares_with_itself_and_owns_every_row(placement):
    x = {"a": np.float64(1 / 3), "b": np.array([[True], [False]])}
    shared = share(x)
    assert shared["a"].dtype == np.float64 and shared["a"].tolist() == [1 / 3]
    assert shared["b"].shape == (1, 2, 1)
    x_PG = np.arange(8, dtype=np.float32).reshape(4, 2)
    np.testing.assert_array_equal(share_rows(x_PG, placement, 4), x_PG)
