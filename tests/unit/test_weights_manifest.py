"""The manifest and its packing plan."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.weights.group import Group
from areal_mesh.weights.manifest import ALIGNMENT, DTYPE_BYTES, TensorSpec, WeightManifest

shapes = st.lists(st.integers(0, 40), min_size=1, max_size=3).map(tuple)
specs = st.lists(st.tuples(st.sampled_from(sorted(DTYPE_BYTES)), shapes), max_size=30).map(
    lambda rows: tuple(TensorSpec(f"t{index}", dtype, shape) for index, (dtype, shape) in enumerate(rows))
)


@given(specs, st.integers(1, 4096))
def test_buckets_hold_every_tensor_once_and_in_order(tensors: tuple[TensorSpec, ...], bucket_bytes: int) -> None:
    buckets = WeightManifest(3, tensors, bucket_bytes).buckets()
    assert tuple(slot.tensor for bucket in buckets for slot in bucket.slots) == tensors


@given(specs, st.integers(1, 4096))
def test_tensors_of_a_bucket_are_aligned_and_do_not_overlap(tensors: tuple[TensorSpec, ...], bucket_bytes: int) -> None:
    for bucket in WeightManifest(3, tensors, bucket_bytes).buckets():
        end = 0
        for slot in bucket.slots:
            assert slot.offset % ALIGNMENT == 0
            assert slot.offset >= end
            end = slot.offset + slot.tensor.num_bytes
        assert end == bucket.num_bytes


@given(specs, st.integers(1, 4096))
def test_a_bucket_exceeds_the_bound_only_for_one_long_tensor(
    tensors: tuple[TensorSpec, ...], bucket_bytes: int
) -> None:
    for bucket in WeightManifest(3, tensors, bucket_bytes).buckets():
        assert bucket.num_bytes <= bucket_bytes or len(bucket.slots) == 1


def test_bytes_count_each_element_by_its_dtype() -> None:
    manifest = WeightManifest(1, (TensorSpec("a", "float32", (3, 5)), TensorSpec("b", "bfloat16", (7,))))
    assert manifest.num_bytes == 3 * 5 * 4 + 7 * 2


def test_fingerprint_changes_with_version_order_dtype_and_shape() -> None:
    a, b = TensorSpec("a", "float32", (2, 3)), TensorSpec("b", "float32", (6,))
    manifests = [
        WeightManifest(1, (a, b)),
        WeightManifest(2, (a, b)),
        WeightManifest(1, (b, a)),
        WeightManifest(1, (TensorSpec("a", "bfloat16", (2, 3)), b)),
        WeightManifest(1, (TensorSpec("a", "float32", (3, 2)), b)),
    ]
    assert len({manifest.fingerprint() for manifest in manifests}) == len(manifests)
    assert WeightManifest(1, (a, b)).fingerprint() == manifests[0].fingerprint()


def test_a_name_given_twice_is_rejected_by_name() -> None:
    tensor = TensorSpec("model.norm.weight", "float32", (4,))
    with pytest.raises(ValueError, match=r"named twice: \['model.norm.weight'\]"):
        WeightManifest(1, (tensor, tensor))


def test_a_dtype_that_cannot_travel_is_rejected_with_those_that_can() -> None:
    with pytest.raises(ValueError, match=r"'int8' cannot be published; use one of .*'bfloat16'"):
        TensorSpec("w", "int8", (4,))


@pytest.mark.parametrize(
    ("group_id", "world_size", "timeout", "message"),
    [("", 2, 1.0, "group_id is empty"), ("t", 1, 1.0, "make 2"), ("t", 2, 0.0, "timeout_seconds must be positive")],
)
def test_a_group_that_cannot_work_says_why(group_id: str, world_size: int, timeout: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Group(group_id, "tcp://127.0.0.1:80", world_size, timeout)


def test_plain_values_import_without_torch() -> None:
    modules = "manifest, group, messages, worker_digests, errors, vllm_plugin"
    program = f"from areal_mesh.weights import {modules}; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
