"""Files of records survive a kill at any byte."""

import pytest

from entropy_rl.evaluation.records import RecordFile

RECORDS = [{"id": number, "text": "süß \n" * number} for number in range(4)]


def test_records_come_back_as_they_were(tmp_path):
    with RecordFile(tmp_path / "new" / "a.jsonl") as file:
        file.append(RECORDS[:1])
        file.append(RECORDS[1:])
        assert file.records == RECORDS
    with RecordFile(tmp_path / "new" / "a.jsonl") as file:
        assert file.records == RECORDS


@pytest.mark.parametrize("num_lost", [1, 2, 7, 11])
def test_a_torn_last_line_is_taken_away_and_written_anew(tmp_path, num_lost):
    path = tmp_path / "a.jsonl"
    with RecordFile(path) as file:
        file.append(RECORDS)
    whole = path.read_bytes()
    path.write_bytes(whole[:-num_lost])
    with RecordFile(path) as file:
        assert file.records == RECORDS[:3]
        file.append(RECORDS[3:])
    assert path.read_bytes() == whole
