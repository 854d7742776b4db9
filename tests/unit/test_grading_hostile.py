"""Hostile answers: none accepted, none slow, none run."""

from pathlib import Path
from time import process_time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from areal_mesh.grading.grade import grade
from areal_mesh.grading.verdict import GradeRequest
from tests.unit.grading_support import graded

GOLDS = ["5", r"\frac{1}{2}", "x^2+1", "(1,2)", r"\sqrt{2}", "y=2x+3", r"\{1,2\}", "A"]


SURDS = r"\sqrt2+\sqrt3+\sqrt5+\sqrt7+\sqrt{11}+\sqrt{13}+\sqrt{17}+1"


def boxed(content: str) -> str:
    return f"\\boxed{{{content}}}"


def towers() -> list[str]:
    heights = (3, 10, 39, 100, 1000)
    return (
        ["9" + "^{9" * height + "}" * height for height in heights]
        + ["9" + "^9" * height for height in heights]
        + ["(" * height + "9!" + ")!" * height for height in heights]
        + ["9!!!!!!!!", "999999999!", "10^{10^{10}}", "2^{99999999}", "(x+1)^{1000000}", "(a+b+c+d+e+f)^{20}"]
        + ["(x+1)^{31}(x+2)^{31}(x+3)^{31}", r"\binom{1000}{500}^{1000}", r"\binom{10^9}{10^8}", "e^{e^{e^{e^{5}}}}"]
        + ["x^{x^{x^{x}}}", r"\gcd(10^{300},10^{200})", r"\sin(10^{1000})", r"\sqrt[1000000]{3}", r"\sqrt{10^{3001}}"]
        + [r"\lfloor \pi 10^{300}\rfloor", "+".join(rf"\sqrt{{{n}}}" for n in range(2, 90))]
    )


def nestings() -> list[str]:
    depths = (39, 100, 10_000, 100_000)
    pieces = [("(", "7", ")"), ("{", "7", "}"), (r"\frac{1}{", "3", "}"), (r"\sqrt{", "7", "}"), ("-", "7", "")]
    pieces += [(r"\text{", "7", "}"), (r"\mathbf{", "7", "}"), ("|", "7", "|"), (r"\left(", "7", r"\right)")]
    return [left * depth + middle + right * depth for left, middle, right in pieces for depth in depths]


def code() -> list[str]:
    return [
        '__import__("os").system("touch PWNED")',
        "exec('import os') or 5",
        "open('PWNED','w')",
        "().__class__.__bases__[0].__subclasses__()",
        "lambda: 5",
        r"\write18{touch PWNED}",
        r"\input{/etc/passwd}",
        r"\immediate\write18{id}",
        "sympy.core.sympify('5')",
        "5 if 1 else 6",
        "{5 for x in [1]}",
    ]


def forgeries() -> list[str]:
    return [
        "0=0", "1=1", "x=x", "True", "4=5=6", "5=7", "nan", r"\infty", r"\infty-\infty", r"\frac{1}{0}", r"\frac{0}{0}",
        "1/(1-1)", "0^0", r"5 \text{ or } 6", "1,2,3,4,5,6,7", r"5 \text{ is wrong}", r"\text{not } 5", r"\text{any}",
        ".*", "[0-9]", "(?:5)", "5|6", "*", "gold", "[0,10]", r"x\in[0,10]", "x>0", r"\mathbb{R}", r"5 \text{ million}",
        "(A),(B),(C)", r"\text{A or B}",
    ]  # fmt: skip


def undefined() -> list[str]:
    """Answers without a value, which cancellation would turn into any value."""
    composite = r"\frac{0}{\sqrt{1022117}-\sqrt{1009}\sqrt{1013}}+\frac{0}{\sqrt{1022117}+\sqrt{1009}\sqrt{1013}}"
    return [
        composite, f"({composite},{composite})", f"\\{{{composite},{composite}\\}}", f"y={composite}", f"x={composite}",
        "0:0", r"\frac{5\sin\pi}{\sin\pi}", r"\frac{5\sin0}{\sin0}", r"5+\ln0-\ln0",
        r"5+\tan\frac\pi2-\tan\frac\pi2",
        r"5+0\cdot\frac1{\sin0}", r"5+\frac{0}{\sin^21+\cos^21-1}", r"(5)\cdot(\sin0)^0",
        r"5\cdot\frac{\sqrt{\cos^22}}{\cos2}\cdot\frac{10^{400}}{10^{400}}", r"x \bmod {5}",
        r"\{1,1,\sum x\}", r"\{1,1,10^{400}\sin1\}", r"1,1,\tan\frac\pi2", r"\{5,\sum x\}",
        r"5+\frac{x}{\tan\frac\pi2}", r"5+\arctan i-\arctan i", r"\{2,2,\ln0\}", r"3\notin x",
        r"x=5=5\pmod1", r"2x\equiv 5\pmod 7",
        r"5.0+10^{9}\sqrt2-10^{9}\sqrt2+0.0002i", r"\text{There are }3=5", r"\sum 3=5", r"3\in\mathbb{R},5",
        r"\text{The incorrect sum is 5}", "A: B|C|D|E", "NOT(1,2)",
    ]  # fmt: skip


def perturbations() -> list[str]:
    return [
        r"5+10^{-20}", r"5+10^{-400}", r"5+e^{-150}", r"5+\pi 10^{-60}", r"(5)\cos(10^{-40})", r"5^{1+10^{-60}}",
        r"5+\frac{1}{1000!}", "4.9997+0", "5.0002^1", "5.0002/1.0", r"5\cdot1.00001\cdot1.0", r"\sqrt{25.002}",
        r"x^2+1+10^{-50}", "x^2+1.0001", "2x+3.0002", r"\sqrt2+10^{-50}", r"\frac12+e^{-200}", r"y=\max(2x+3,-2)",
    ]  # fmt: skip


def bombs() -> list[str]:
    terms = r"(3^{40}+7^{50}\sqrt2+\frac{1}{5^{50}}\sqrt3+\sqrt5+\sqrt[3]7)^{32}+"
    primes = ",".join(f"{number}^{{2000}}" for number in range(3, 240, 4))
    return [
        terms * 15 + "10^{400}", rf"\lcm({primes})", "10^{400}" + "".join(f"(x+{k})" for k in range(1, 140)),
        r"\binom{\pi}{900}", r"\binom{\ln5}{555}", r"\binom{i}{300}", r"((2^{100}-1)^{163}\pi)^{x}",
        r"\sin((2^{100}-1)^{163})", "5" + "!" * 400, "5" + r"\%" * 400, "1" + "/1" * 390, "0." + "12" * 900 + "...",
        r"x \bmod {" * 30 + "x" + "}" * 30, "P(" * 30 + "1,2" + ")" * 30, r"1\cup" * 200 + "2", "_{1}C_" * 300,
        "5'" * 900, "C_1^A(" * 7 + "1" + "+1" * 340 + ")" * 7, "A(" * 9 + r"\log x" + "+1" * 340 + ")" * 9,
        "+".join(["(1+x+x^2+x^3+x^4+x^5+x^6+x^7)^{22}"] * 18) + "+10^{400}x", "2(" * 9 + "0.1" + "+0.1" * 380 + ")" * 9,
        f"({SURDS})^{{32}}" + r"+\infty", "+".join([rf"(\frac{{{SURDS}}}{{1}})^{{16+16}}"] * 15) + r"+\infty",
        f"({SURDS})" * 25 + r"+\infty", r"\sin(x^{10^{5000}})", r"3\pmod{10^{5000}}", r"\tan(\cosh 10^9)",
        r"15\cdot10^{307}+15\cdot10^{307}i", r"(1,10^{400})\cup(\sqrt2,\infty)", r"\arcsin\sin(10^{400})",
        r"7 \approx 7.0\cdot10^{300}\cdot10^{300}", r"20\sqrt{(2^{100}-1)^{163}13}", r"\sin\sinh(10^{5})",
        "(" * 9 + "x+y" + ("!" * 15 + ")") * 9, "|x|+" * 100 + r"10^{400}\pm1\pm1\pm1",
    ]  # fmt: skip


def lookalikes() -> list[str]:
    return ["５", "٥", "𝟓", "Б", "х^2+1", "ｘ^2+1", "１/２", "1٢", "А", "Α", "(1\u201a2)", "5\u0336"]


def floods() -> list[str]:
    return [
        "1" * 1_000_000, "9" * 1999, "0." + "9" * 1900, "1" + ",000" * 400, "1e999999999", "a" * 1900, "a," * 900,
        "(1," * 300, "1 " * 900, r"\text{" * 300, "x_{" * 300, "$" * 1900, "\\" * 1900, " " * 1900 + "7", "a!" * 900,
        r"\begin{pmatrix}" + "1&" * 500 + r"1\end{pmatrix}", "(a+)+$" + "a" * 500, "1=" * 800 + "1", ":" * 1900,
    ]  # fmt: skip


def responses() -> list[str]:
    return [
        "{" * 1_000_000,
        "}" * 1_000_000,
        r"\boxed{" * 150_000,
        r"\boxed{" + "{" * 500_000 + "}" * 500_000 + "}",
        r"\boxed{" * 1000 + "7" + "}" * 999,
        "The answer is " + "\n" * 500_000 + "7 no",
        "<answer>" * 100_000,
        "final answer is " * 60_000,
        "1" * 1_000_000,
        r"\fbox" + r"\boxedx" * 140_000,
        (r"\boxed" + "{" * 3_999) * 256,
        (r"\boxed{" + "{}" * 1_995) * 256,
        (r"(\fboxx\boxedx)") * 70_000,
    ]


HOSTILE = {
    "towers": towers(),
    "nestings": nestings(),
    "code": code(),
    "forgeries": forgeries(),
    "lookalikes": lookalikes(),
    "undefined": undefined(),
    "perturbations": perturbations(),
    "bombs": bombs(),
    "floods": floods(),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_answer_is_rejected_in_time(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    graded(boxed(r"\sqrt{3+2\sqrt{2}}"), r"1+\sqrt{2}")
    times = []
    for content in HOSTILE[kind]:
        for gold in GOLDS:
            started = process_time()
            verdict = graded(boxed(content), gold)
            times.append((process_time() - started, content[:80], gold))
            assert verdict.status == "incorrect", (content[:80], gold, verdict.rule)

    assert max(times)[0] < 1.1, max(times)
    assert sum(seconds > 0.1 for seconds, _, _ in times) <= max(1, len(times) // 100), sorted(times)[-3:]
    assert not list(tmp_path.iterdir())


def test_a_set_with_one_known_member_is_not_taken_for_known() -> None:
    for content in (r"\{0,0,\sum x,\sum x\}", r"\{0,0,10^{400}\sin1\}", r"\{0,0,\ln0\}"):
        request = GradeRequest(boxed(content), (r"\{-3,0,7\}",))
        verdict = grade(request, None)

        assert verdict is None or verdict.status == "incorrect", content
        assert graded(boxed(content), r"\{-3,0,7\}").status == "incorrect"


@pytest.mark.parametrize("index", range(len(responses())))
def test_hostile_response_is_read_in_linear_time(index: int) -> None:
    response = responses()[index]
    started = process_time()
    verdict = graded(response, "5")

    assert verdict.status == "incorrect"
    assert process_time() - started < 0.5


COMMANDS = (
    r"\frac \sqrt \left \right \begin{pmatrix} \end{pmatrix} \text{ \cup \pm \circ \infty \\ & = < > \le \{ \} \binom"
)
MORE = r"10^{10} ! \log \sin \lfloor \mathbf{ and or √ ² { } ( ) [ ] | ^ _ % , ; : . / * + - 0 1 23 x y z e f i $"


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from([*COMMANDS.split(), *MORE.split(), " "]), max_size=60))
@example([r"\begin{pmatrix}", "&"])
@example(["\\mathbf{", "\\"])
def test_any_sequence_of_tokens_gets_a_verdict_in_time(pieces: list[str]) -> None:
    started = process_time()
    verdict = graded(boxed("".join(pieces)), "123456789")

    assert verdict.status == "incorrect"
    assert process_time() - started < 1.0


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=200), st.sampled_from(GOLDS))
def test_any_text_gets_a_verdict(text: str, gold: str) -> None:
    assert graded(text, gold, last_number=True).status in ("correct", "incorrect")
    assert graded(boxed(text), gold, protocol="strict_qwen").status in ("correct", "incorrect")


@pytest.mark.parametrize(
    "gold",
    [
        r"(x-n)^{\frac{b}{a}}",
        r"(\frac{k^2}{k-n})^{(x+z)^{20}}",
        r"\sqrt{\binom{\sqrt[x]{z}}{\sqrt{k}}}",
        r"\ln\binom{z}{-i}",
        r"\frac{x^2+|n|}{\sqrt[x]{7^b}}",
        r"\max(\binom{k}{a},2y)",
    ],
)
@pytest.mark.parametrize("form", [r"e^{{\ln({})}}", r"\sqrt{{({})^2}}", r"|{}|", r"1\cdot({})", r"({})+0"])
def test_what_has_the_values_of_a_hard_reference_is_decided_in_time(gold: str, form: str) -> None:
    started = process_time()
    graded(boxed(form.format(gold)), gold)

    assert process_time() - started < 1.1
