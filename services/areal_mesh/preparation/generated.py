"""Problems that are made up as they are read: the tasks of the package `reasoning-gym`, without end.

The same count and seed give the same problems; another seed gives others.
"""

import difflib
from collections.abc import Iterator
from itertools import islice

from areal_mesh.preparation.reading import FileFault, Row, as_written

PREFIX = "reasoning-gym/"
"""Before a task's name, where a data set is named."""


def generated_rows(task: str, count: int, seed: int) -> Iterator[Row]:
    """The first `count` problems of a task.

    Raises:
        FileFault: the package is not installed, or has no such task.
    """
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS
    except ImportError as error:
        raise FileFault(f"{PREFIX}{task}: needs the package reasoning-gym; pip install reasoning-gym") from error
    if task not in DATASETS:
        near = difflib.get_close_matches(task, DATASETS, n=3) or sorted(DATASETS)[:3]
        raise FileFault(f"{PREFIX}{task}: no such task; there are {len(DATASETS)}, such as {', '.join(near)}")
    made = reasoning_gym.create_dataset(task, size=count, seed=seed)
    for number, item in enumerate(islice(made, count), start=1):
        row = {"question": item["question"], "answer": item["answer"], "source": f"{PREFIX}{task}"}
        yield Row(number, as_written(row))
