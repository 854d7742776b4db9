"""Which part of a response is its answer."""

from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from areal_mesh.grading import answer_matches
from areal_mesh.grading.extraction import extract_answer, joined_boxes


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"First \boxed{3}, but in the end \boxed{4}.", "4"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed {7}", "7"),
        (r"\boxed 7$", "7"),
        (r"\fbox{7}", "7"),
        (r"\boxed{x = \boxed{5}}", "5"),
        (r"\boxed{\text{not } \boxed{5}}", r"\text{not } \boxed{5}"),
        (r"\boxed{1 - \fbox{5}} and so on", r"1 - \fbox{5}"),
        (r"\boxed{1}\boxed{\boxed{2}}", "2"),
        (r"\boxed{ is open, then \boxed{5} closes }", r"is open, then \boxed{5} closes"),
        (r"Either \boxed{4} or \boxed{5}.", "4, 5"),
        (r"\boxed{1}, \boxed{2}, \boxed{3}", "1, 2, 3"),
        (r"\boxed{\left\{1, 2\right\}}", r"\left\{1, 2\right\}"),
        (r"So \boxed{5}. Wait, maybe \boxed{12", "5"),
        (r"\boxed{5} The answer is 6.", "5"),
        (r"\boxed{255} Final Answer: The final answer is $10,455$. I hope it is correct.", "10,455"),
        (r"The final answer is $4$. I hope it is correct. The final answer is $5$. I hope it is correct.", "5"),
        ("The answer is 42.", "42"),
        ("The answer is 42. I hope it is correct.", "42"),
        ("the final answer is $\\frac{1}{2}$.", "$\\frac{1}{2}$"),
        ("The answer is 1. No: the final answer is 2.", "2"),
        ("**Final Answer:** 3.5", "3.5"),
        ("<think>no</think><answer> 8 </answer>", "8"),
        ("<answer>1</answer> or rather <answer>2</answer>", "2"),
        (r"<answer>so it is \boxed{9}</answer>", "9"),
        ("We computed 5 and 6.", None),
        ("", None),
        (r"\boxed{}", ""),
        (r"\boxedly{5}", None),
    ],
)
def test_answer_is_found_where_the_protocol_looks(response: str, answer: str | None) -> None:
    assert extract_answer(response) == answer


def test_last_number_counts_only_where_asked_for() -> None:
    response = "It takes 3 steps and 1,250 minutes, or -7"

    assert extract_answer(response) is None
    assert extract_answer(response, last_number=True) == "-7"
    assert answer_matches("so 12 it is", "12", last_number=True).status == "correct"
    assert answer_matches("so 12 it is", "12").rule == "no answer"


@pytest.mark.parametrize(
    ("response", "joined"),
    [
        (r"\boxed{1} and \boxed{-2}", "1, -2"),
        (r"\boxed{1}, \boxed{2}, \boxed{3}", "1, 2, 3"),
        (r"\boxed{1} \quad \text{or} \quad \boxed{2}", "1, 2"),
        (r"\boxed{1} Then we go on and find \boxed{2}", None),
        (r"\boxed{1}", None),
        (r"\boxed{1} \boxed{2}", None),
        (r"\boxed{1} papers and \boxed{2} bins", "1, 2"),
        (r"\(x_1 = \boxed{1}\) and \(x_2 = \boxed{2}\)", "1, 2"),
        (r"\boxed{1} no no no no \boxed{2}", None),
        (r"so \boxed{1}. Now, and only now, \boxed{2}", None),
    ],
)
def test_adjacent_boxes_are_one_listing(response: str, joined: str | None) -> None:
    assert joined_boxes(response) == joined


def test_adjacent_boxes_match_a_listing_and_a_single_gold_only_by_the_last() -> None:
    response = r"The solutions are \boxed{1} and \boxed{2}."

    assert answer_matches(response, "2, 1").rule == "joined boxes"
    assert answer_matches(response, "2").status == "correct"
    assert answer_matches(response, "1").status == "incorrect"


def test_adjacent_boxes_match_the_listing_that_a_solution_holds_in_its_box() -> None:
    solution = r"The equation factors, and so its solutions are $n = \boxed{4, -7}.$"

    assert answer_matches(r"They are \boxed{-7} \quad \text{and} \quad \boxed{4}.", solution).rule == "joined boxes"
    assert answer_matches(r"They are \boxed{-7} \quad \text{and} \quad \boxed{5}.", solution).status == "incorrect"


def test_solution_without_a_box_is_what_it_states_as_its_answer() -> None:
    solution = r"The price rises by $5$ and falls by $8$. The final answer is $32 \%$. I hope it is correct. Note:"

    assert answer_matches(r"\boxed{32\%}", solution).status == "correct"
    assert answer_matches(r"\boxed{8\%}", solution).status == "incorrect"


def test_any_of_several_golds_is_enough() -> None:
    assert answer_matches(r"\boxed{3}", ["2", "3"]).status == "correct"
    assert answer_matches(r"\boxed{4}", ["2", "3"]).status == "incorrect"
    with pytest.raises(ValueError, match="at least one reference"):
        answer_matches(r"\boxed{4}", [])


@settings(deadline=None)
@given(st.text(alphabet="\\boxed{}$ 12<answer>/\n", max_size=400))
def test_extraction_never_fails_and_returns_a_part_of_the_response(response: str) -> None:
    extracted = extract_answer(response)

    assert extracted is None or extracted in response


@pytest.mark.parametrize("piece", ["\\boxed{", "{", "}", "<answer>", "The answer is ", "\\boxed{5", "5 "])
def test_extraction_takes_linear_time(piece: str) -> None:
    response = piece * (1_000_000 // len(piece))
    started = process_time()
    extract_answer(response, last_number=True)
    joined_boxes(response)

    assert process_time() - started < 0.5


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (r"\boxed{1}\boxed{2}", "1,2", "2"),
        (r"\boxed{35 cm} ++++++ \boxed{4}", r"\{35 cm, 4\}", "4"),
        (r"\boxed{3}, so that \boxed{7}", "7", "3, 7"),
        (r"\boxed{W(n) = 1 \text{ and } W(n) = -1", "W(x)=1orW(x)=-1", "W(x)=1"),
    ],
)
def test_reference_with_boxes_is_what_they_hold(gold: str, right: str, wrong: str) -> None:
    assert answer_matches(f"\\boxed{{{right}}}", gold).correct
    assert not answer_matches(f"\\boxed{{{wrong}}}", gold).correct


def test_closing_sentence_is_not_joined_with_boxes_before_it() -> None:
    response = r"\boxed{1} and \boxed{2}. The final answer is $7$. I hope it is correct."

    assert answer_matches(response, "7").correct
    assert not answer_matches(response, "1, 2").correct


def test_a_rounded_reference_is_answered_by_what_rounds_to_it_where_that_is_asked_for() -> None:
    def accepts(answer: str, gold: str, *, rounded_golds: bool) -> bool:
        return answer_matches(rf"so \boxed{{{answer}}}", gold, rounded_golds=rounded_golds).correct

    assert accepts(r"\frac{200}{3}", "66.7", rounded_golds=True)
    assert accepts(r"\sqrt2", "1.41", rounded_golds=True)
    assert accepts("66.7", "66.7", rounded_golds=True)
    assert not accepts(r"\frac{200}{3}", "66.6", rounded_golds=True)
    assert not accepts("67", "66.7", rounded_golds=True)
    assert not accepts(r"\frac{200}{3}", "67", rounded_golds=True)
    assert not accepts(r"\frac{200}{3}", "66.7", rounded_golds=False)
    assert accepts(r"\frac{200}{3}", r"\approx 66.7", rounded_golds=False)


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"<think>Perhaps \boxed{8}.</think> The answer is 9.", "9"),
        (r"<think>\boxed{8}</think>" + "\n\n**Final Answer:** 9", "9"),
        (r"<reasoning>\boxed{8}</reasoning><answer>9</answer>", "9"),
        (r"<think>The final answer is $8$. I hope it is correct.</think> So \boxed{9}", "9"),
        (r"<think>So \boxed{9}.</think> Done.", "9"),
        (r"\boxed{9} As asked, the answer is in \boxed{}.", "9"),
        (r"\boxed{9} (marked with \boxed as asked)", "9"),
        ("**Answer**: 9", "9"),
        ("### Final Answer\n9", "9"),
        ("Thus the answer is\n\\[\nx = 9.\n\\]", "x = 9"),
        ("The answers are 4 and 9.", "4 and 9"),
        ("The answer is 9 because 4+5=9.", "9"),
    ],
)
def test_the_last_statement_after_a_thought_is_the_answer(response: str, answer: str) -> None:
    assert extract_answer(response) == answer


def test_the_last_line_of_a_worked_reference_is_the_reference() -> None:
    assert answer_matches(r"\boxed{1,250}", "He has 50*25=<<50*25=1250>>1250.\n#### 1250").correct
    assert not answer_matches(r"\boxed{50}", "He has 50*25=<<50*25=1250>>1250.\n#### 1250").correct
