from entropy_rl.bench.selection import bench_selection


def test_a_row_for_each_size_says_whether_it_equals_a_sort():
    rows = bench_selection((64, 1024), repeats=1, largest_sort=64)
    assert [row["tokens"] for row in rows] == [64, 1024]
    assert rows[0]["equals_sort"] and rows[0]["ratio_to_sort"] > 0 and "sort_seconds" not in rows[1]
    assert all(row["seconds"] > 0 and row["ns_per_token"] > 0 for row in rows)
