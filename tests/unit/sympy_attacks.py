"""Answers that are meant to keep SymPy busy for minutes, or to have it take one thing for another."""

SURDS = [rf"\sqrt{{{n}}}" for n in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)]


def nested(left: str, middle: str, right: str, depth: int) -> str:
    return left * depth + middle + right * depth


def towers() -> list[str]:
    return [
        nested("2^{", "2", "}", 5) + "+x",
        nested("2^{", "x", "}", 30),
        nested("e^{", "e^x", "}", 12),
        r"\ln(" * 20 + "x+10" + ")" * 20,
        nested("x^{", "x", "}", 35),
        r"(x^x)^{(x^x)^{(x^x)^{x}}}",
        r"2^{2^{2000}}-2^{2^{1999}}",
        r"e^{\ln((x-n)^{b/a})}+x",
        r"\sqrt[x]{\sqrt[x]{\sqrt[x]{x}}}",
        r"i^{i^{i^{i^{i^{i}}}}}",
        r"(-1)^{(-1)^{(-1)^{x}}}",
        r"\lfloor e^{e^{e^3}}\rfloor",
        r"\lfloor 10^{3000}\pi\rfloor",
        r"20000!^{20000}",
        r"\frac{20000!}{19999!+1}",
        r"20000!!+x",
        r"\binom{10^9}{5\cdot10^8}",
        r"\binom{x}{10^6}",
        r"\binom{20000}{10000}^{20000}",
        r"\gcd(20000!,10^{20000})",
        r"\tan(10^{3000})",
        r"\cosh(\cosh(\cosh 9))",
        r"\arctan(\tan(\arctan(\tan(10^{300}x))))",
    ]


def radicals() -> list[str]:
    return [
        nested(r"\sqrt{2+", r"\sqrt2", "}", 37),
        nested(r"\sqrt{x+", "x", "}", 37),
        nested(r"\sqrt[3]{1+", "y", "}", 36),
        "+".join(rf"\sqrt[3]{{{n}}}" for n in range(2, 90)),
        "+".join(rf"\sqrt[{n}]{{{n + 1}}}" for n in range(2, 80)),
        "(" + "+".join(SURDS) + ")^{32}",
        r"\frac{1}{" + "+".join(SURDS) + "}",
        r"\frac{1}{" + "-".join(rf"\sqrt[3]{{{n}}}" for n in range(2, 30)) + "}",
        nested(r"\sqrt{1+\frac{1}{", "x", "}}", 18),
        "".join(rf"(\sqrt{{{n}}}+\sqrt[3]{{{n}}}+x)" for n in range(2, 40)),
        r"\sqrt{25+10^{-1900}\sqrt2}",
        r"\sqrt{25+10^{-300}\sqrt{2+10^{-300}\sqrt3}}",
        r"\sqrt[3]{" + "+".join(rf"{n}x^{{{n}}}" for n in range(1, 60)) + "}",
        r"\sqrt{10^{3000}+1}-10^{1500}+5",
        r"5\sqrt[3500]{1+10^{-900}}",
    ]


def integrals() -> list[str]:
    bodies = [
        "x^x", r"\sin(\sin(\sin x))", r"\frac{1}{x^{50}+x+1}", r"\sqrt{x^7+x+1}", r"e^{-x^2}\sin(x^3)\ln(x+1)",
        r"\frac{\sin^{20}x}{1+\cos^{19}x}", r"\tan^{30}x", r"x^{100}e^x\sin x", r"\ln(1+\ln(1+\ln(1+x)))",
        r"e^{e^{e^x}}",
        r"\lfloor x^2\rfloor", r"\max(x,\max(x^2,\max(x^3,1-x)))", r"||x-1|-|x-2||", r"\frac{\sin x}{x}",
        r"\frac{x^{30}}{(x^2+1)^{20}}", r"\arctan(\sqrt{\tan x})", r"\sqrt{1+\sqrt{1+\sqrt{1+x}}}",
        r"\frac{1}{\ln(x+2)}",
        r"\cos(x^2)\cos(x^3)\cos(x^5)", r"(1+x+x^2+x^3+x^4)^{30}", r"\binom{x}{5}x!", r"x^{a}(1-x)^{b}",
        r"\frac{1}{a+b\cos x}", r"\frac{x^{s-1}}{e^x-1}",
    ]  # fmt: skip
    inner = r"\int_0^1 " * 6 + "xyzuvw" + r"\,dx\,dy\,dz\,du\,dv\,dw"
    return (
        [rf"\int_0^1 {body}\,dx" for body in bodies]
        + [rf"\int_0^\infty {body}\,dx" for body in bodies[:6]]
        + [rf"\int_0^{{10^{{100}}}} {body}\,dx" for body in bodies[:4]]
        + [inner + "+x", r"\int_0^{\int_0^1 t^t dt} s^s ds", r"5+\int_0^1 e^{-10^{12}(x-\frac3{10})^2}dx"]
        + [r"5+\int_{-1}^{1}\frac{dx}{x}", r"\int_{-1}^1\frac{5}{2x^2}dx+10"]
    )


def limits() -> list[str]:
    return [
        r"\lim_{x\to\infty} x^{x^{x}}", r"\lim_{x\to\infty}\frac{e^{e^{e^x}}}{e^{e^{e^{x-e^{-e^x}}}}}",
        r"\lim_{x\to 0}\sin\frac1x", r"\lim_{x\to\infty}\frac{x!}{x^x}",
        r"\lim_{x\to 0}\frac{\sin(\tan x)-\tan(\sin x)}{x^7}", r"\lim_{x\to\infty}(\sin x)^{x}",
        r"\lim_{x\to 0}\frac{\tan^{30}x-\sin^{30}x}{x^{32}}", r"\lim_{n\to\infty}\prod_{k=1}^{n}\cos\frac{x}{2^k}",
        r"\lim_{n\to\infty}\sum_{k=1}^n\frac{n}{n^2+k^2}", r"\lim_{x\to 5}\lfloor x\rfloor",
        r"5\lim_{x\to0}\frac{|x|}{x}",
        r"\lim_{x\to\infty}\ln(\ln(\ln(\ln x)))", r"\lim_{x\to0^+}x^{x^{x^{x}}}+5",
        r"\lim_{x\to\infty}\lim_{y\to\infty}\frac{x^y}{y^x}", r"\lim_{x\to0}\int_0^x t^t dt+5",
    ]  # fmt: skip


def sums() -> list[str]:
    return [
        r"\sum_{k=1}^{10^{30}} k^k", r"\sum_{k=1}^\infty\frac1{k^k}", r"\sum_{k=0}^\infty\frac{(-1)^k}{k!+k^2}",
        r"\sum_{k=1}^{n}k^{100}", r"\sum_{i=1}^{999}\sum_{j=1}^{999}\frac{1}{i+j}", r"\sum_{k=1}^{999}\sqrt{k}",
        r"\prod_{k=1}^{999}(x+k)", r"\sum_{k=1}^{10^9}\sin k", r"\prod_{k=1}^{10^{9}} k",
        r"\sum_{k=1}^{\infty}|\sin k|",
        r"\sum_{k=1}^{999}k!", r"\sum_{k=1}^{999}\binom{999}{k}^{99}", r"\sum_{p=1}^\infty\frac{1}{p^{p^p}}",
        r"\sum_{k=1}^{\infty} x^{k^2}", r"\prod_{k=1}^{\infty}(1-x^k)", r"\sum_{k=0}^{n}\binom{n}{k}^{5}",
        r"\sum_{a=1}^{99}\sum_{b=1}^{99}\sum_{c=1}^{99}\sum_{d=1}^{99}abcd",
        r"\sum_{k=1}^{n}\sum_{j=1}^{k}\sum_{i=1}^{j}i^{9}",
        r"\sum_{k=1}^{\infty}\frac{\lfloor k\sqrt2\rfloor}{2^k}", r"\sum_{k=1}^{5^{5^{5}}}1",
        r"\sum_{k=5}^{5}5^{k^{k^{k}}}",
    ]  # fmt: skip


def derivatives() -> list[str]:
    return [
        r"\frac{d^4}{dx^4}x^{x^{x^{x}}}", r"\frac{d^4}{dx^4}\sin(\sin(\sin(\sin(\sin x))))",
        r"\frac{d^4}{dx^4}\frac{1}{" + "".join(f"(x+{k})" for k in range(1, 40)) + "}",
        r"\frac{d^4}{dx^4}(" + "+".join(rf"\sin^{{{k}}}x\cos^{{{k}}}x" for k in range(2, 30)) + ")",
        r"\frac{d}{dx}\int_0^{x^{x}}t^{t^{t}}dt", r"\frac{d^4}{dx^4}|||x-1|-2|-3|",
        r"\frac{d^4}{dx^4}\lfloor x\rfloor x!",
    ]  # fmt: skip


def pieces() -> list[str]:
    return [
        nested(r"\max(x,y+", "1", ")", 30), nested("|x-", "1", "|", 25),
        r"\min(" + ",".join(f"x^{{{k}}}-{k}" for k in range(1, 60)) + ")",
        r"\max(" + ",".join(rf"\sin({k}x)" for k in range(1, 60)) + ")",
        nested(r"\lfloor x+", "y", r"\rfloor", 35), r"\lfloor\lfloor 5^{x}\rfloor^{5^{x}}\rfloor",
        r"\begin{cases}" + r"\\".join(f"x^{{{k}}} & x>{k}" for k in range(1, 60)) + r"\end{cases}",
        r"\int_0^1\min(" + ",".join(f"x^{{{k}}}" for k in range(1, 12)) + r")\,dx",
        r"\int_{-9}^{9}" + nested("|x-", "1", "|", 12) + r"\,dx", r"\lim_{x\to 1}" + nested(r"\max(x,", "x^2", ")", 12),
    ]  # fmt: skip


def equations() -> list[str]:
    return [
        "(x+y+z)^{40}=0", "y=" + "+".join(rf"\frac{{1}}{{x-{k}}}" for k in range(1, 60)),
        "y=" + nested(r"\frac{1}{x+", "y", "}", 30), "".join(f"(x+{k}y)" for k in range(1, 60)) + "=0",
        "y=(x+1)^{1000}-(x+1)^{999}", "y=" + "+".join(rf"\frac{{x^{{{k}}}}}{{y^{{{k}}}+x}}" for k in range(1, 40)),
    ]  # fmt: skip


ATTACKS = {
    "towers": towers(), "radicals": radicals(), "integrals": integrals(), "limits": limits(), "sums": sums(),
    "derivatives": derivatives(), "pieces": pieces(), "equations": equations(),
}  # fmt: skip
