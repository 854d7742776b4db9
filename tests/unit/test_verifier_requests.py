"""What the verifier makes of a request before it grades."""

from areal_mesh.v1 import verifier_pb2
from areal_mesh.verifier.messages import decode_items


def test_references_are_taken_for_rounded_where_the_setting_says_so() -> None:
    item = verifier_pb2.VerifyItem(response=r"\boxed{\frac23}", gold_answers=["0.67", "12"])
    request = verifier_pb2.VerifyRequest(items=[item])

    [exact] = decode_items(request, "qwen")
    [rounded] = decode_items(request, "qwen", rounded_golds=True)

    assert exact.golds == ("0.67", "12")
    assert rounded.golds == (r"\approx 0.67", "12")
