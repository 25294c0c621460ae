"""Loaders with random options: PyTorch's batches, and its random numbers in the workers and after them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")  # about forks and more workers than cores

SEEDS = range(30)


def dataset(library: Any, stream: bool) -> Any:
    data = library.utils.data

    class Indexed(data.Dataset):  # type: ignore[name-defined, misc]
        def __len__(self) -> int:
            return 23

        def __getitem__(self, i: int) -> dict[str, Any]:
            worker = data.get_worker_info()
            return {
                "index": i,
                "draws": library.rand(2),
                "order": library.randperm(5),
                "numpy": np.random.rand(),
                "python": random.random(),
                "worker": (-1, 0, 0)
                if worker is None
                else (worker.id, worker.num_workers, worker.seed % 1009),
                "seed": 0 if worker is None else library.initial_seed() % 1009,
            }

    class Stream(data.IterableDataset):  # type: ignore[name-defined, misc]
        def __len__(self) -> int:
            return 19

        def __iter__(self) -> Any:
            worker = data.get_worker_info()
            first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
            for i in range(first, 19, step):
                yield i, library.randn(3), random.random(), np.random.randint(1000)

    return Stream() if stream else Indexed()


def any_loader(library: Any, choices: random.Random) -> Any:
    data = library.utils.data
    stream = choices.random() < 0.3
    source = dataset(library, stream)
    workers = choices.choice((0, 1, 2, 3))
    options: dict[str, Any] = {"num_workers": workers, "batch_size": choices.choice((None, 1, 4, 5))}
    if options["batch_size"] is not None:
        options["drop_last"] = choices.random() < 0.5
    generator = None
    if choices.random() < 0.5:
        generator = options["generator"] = library.Generator().manual_seed(5)
    kind = (
        "stream"
        if stream
        else choices.choice(("in order", "shuffled", "drawn", "subset", "weighted", "lists"))
    )
    if kind == "shuffled":
        options["shuffle"] = True
    elif kind == "drawn":
        count = choices.choice((7, 40, 64))
        options["sampler"] = data.RandomSampler(
            source, replacement=True, num_samples=count, generator=generator
        )
    elif kind == "subset":
        options["sampler"] = data.SubsetRandomSampler([3, 1, 4, 15, 9, 2, 6], generator=generator)
    elif kind == "weighted":
        weights, again = np.arange(1, 24) / 5.0, choices.random() < 0.5
        options["sampler"] = data.WeightedRandomSampler(weights, 10, replacement=again, generator=generator)
    elif kind == "lists":
        options = {k: v for k, v in options.items() if k not in ("batch_size", "drop_last")}
        options["batch_sampler"] = data.BatchSampler(data.RandomSampler(source), 6, False)
    if workers:
        options["persistent_workers"] = choices.random() < 0.5
        options["prefetch_factor"] = choices.choice((None, 1, 3))
        if choices.random() < 0.4:
            options["worker_init_fn"] = lambda i: (np.random.seed(i + 7), library.manual_seed(i + 9), None)[2]
    return data.DataLoader(source, **options)


def plain(library: Any, batch: Any) -> Any:
    if isinstance(batch, dict):
        return {key: plain(library, value) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return [plain(library, value) for value in batch]
    if isinstance(batch, library.Tensor):
        return str(batch.dtype), np.round(batch.double().numpy(), 5).tolist()
    return batch


def two_passes(library: Any, seed: int) -> list[Any]:
    library.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    loader = any_loader(library, random.Random(seed))
    found: list[Any] = [len(loader)]
    for _ in range(2):
        found += [plain(library, batch) for batch in loader]
        found.append(library.rand(1).item())
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_like_pytorch(seed: int) -> None:
    assert two_passes(flambeau, seed) == two_passes(torch, seed)
