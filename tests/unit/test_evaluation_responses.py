"""The file of responses: nothing is lost, nothing is written twice, damage is found."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.evaluation.requests import SampleKey, sample_requests, sample_seed
from areal_mesh.evaluation.responses import DamagedFile, Response, ResponseFile, decode, encode, read_responses
from areal_mesh.evaluation.suites import SuiteError, find_suite, read_suite, read_suites


def response(number: int, text: str = "so \\boxed{4}") -> Response:
    return Response(SampleKey("base", "sums", "p-1", number), ("4",), 7, text, 5, "stop")


@given(st.text(), st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_a_response_comes_back_as_it_was(text: str, golds: list[str]) -> None:
    one = Response(SampleKey("a/b", "s", "p", 3), tuple(golds), 1 << 60, text, 9, "length", "why")
    line = encode(one)
    assert line.count(b"\n") == 1
    assert decode(line) == one


@pytest.mark.parametrize("cut", [1, 20, 150])
def test_what_a_killed_process_wrote_in_part_is_asked_for_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "responses.jsonl"
    path.write_bytes(encode(response(0)) + encode(response(1))[:cut])
    file = ResponseFile(path)
    assert file.known == {response(0).key}
    assert file.add(response(1))
    file.close()
    assert list(read_responses(path)) == [response(0), response(1)]


def test_a_sample_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    file = ResponseFile(tmp_path / "responses.jsonl")
    assert file.add(response(0))
    assert not file.add(response(0, "another"))
    file.close()
    assert list(read_responses(tmp_path / "responses.jsonl")) == [response(0)]


def test_a_line_that_was_changed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    path.write_bytes(encode(response(0)) + encode(response(1)).replace(b"boxed{4}", b"boxed{5}"))
    with pytest.raises(DamagedFile, match="line 2: its checksum"):
        ResponseFile(path)


def test_a_file_without_a_whole_line_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    path.write_bytes(b"x" * 100_000)
    ResponseFile(path).close()
    assert path.read_bytes() == b""


def suite_file(folder: Path, name: str, count: int) -> Path:
    rows = [{"id": f"p-{n}", "problem": f"{n}+1?", "answer": str(n + 1)} for n in range(count)]
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_every_sample_has_a_seed_that_no_order_changes(tmp_path: Path) -> None:
    suite = read_suite(suite_file(tmp_path, "sums", 3))
    asked = list(sample_requests("base", [suite], 4, seed=1))
    assert len({request.key for request in asked}) == len({request.seed for request in asked}) == 12
    assert all(request.seed == sample_seed(1, "sums", request.key.problem_id, request.key.number) for request in asked)
    again = {request.key.identifier.partition("/")[2]: request.seed for request in sample_requests("x", [suite], 2, 1)}
    assert all(again[request.key.identifier.partition("/")[2]] == request.seed for request in asked[:6])
    assert sample_seed(2, "sums", "p-0", 0) != sample_seed(1, "sums", "p-0", 0)


def test_suites_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    path = suite_file(tmp_path, "sums", 5)
    assert find_suite("sums", tmp_path) == find_suite(str(path), Path("elsewhere")) == path
    assert len(read_suite(path, limit=2).problems) == 2
    with pytest.raises(SuiteError, match=r"no file .*products\.jsonl; .* has sums"):
        find_suite("products", tmp_path)
    with pytest.raises(SuiteError, match="given twice"):
        read_suites(["sums", "sums"], tmp_path)


def test_a_bad_line_of_a_suite_is_named(tmp_path: Path) -> None:
    path = suite_file(tmp_path, "sums", 2)
    path.write_text(path.read_text() * 2)
    with pytest.raises(SuiteError, match="line 3: id 'p-0' stands there before"):
        read_suite(path)
