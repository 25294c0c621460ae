"""Datasets, samplers, collation, and the loader without workers."""

import collections
import itertools
import tracemalloc
import warnings

import numpy as np
import pytest

import flambeau
from flambeau.utils import data
from flambeau.utils.data import DataLoader, TensorDataset


def plain(x):
    """Values with their dtypes, for comparison between libraries."""
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    if hasattr(x, "dtype"):
        return str(x.dtype), x.tolist()
    return x


def numbers(lib, n=23):
    x = lib.arange(n * 3, dtype=lib.float32).reshape(n, 3)
    return lib.utils.data.TensorDataset(x, lib.arange(n))


LOADERS = [
    {"batch_size": 4},
    {"batch_size": 4, "shuffle": True},
    {"batch_size": 5, "shuffle": True, "drop_last": True},
    {"batch_size": None},
    {"batch_size": None, "shuffle": True},
]


@pytest.mark.parametrize("options", LOADERS)
def test_batches_and_random_numbers_are_pytorchs(options):
    torch = pytest.importorskip("torch")
    seen = []
    for lib in (torch, flambeau):
        lib.manual_seed(3)
        loader = lib.utils.data.DataLoader(numbers(lib), **options)
        batches = [plain(b) for _ in range(2) for b in loader]
        seen.append((batches, len(loader), lib.rand(2).tolist()))
    assert seen[0] == seen[1]


def test_samplers_and_splits_are_pytorchs():
    torch = pytest.importorskip("torch")

    def draw(lib):
        lib.manual_seed(5)
        g, d = lib.Generator().manual_seed(7), lib.utils.data
        found = [
            [list(s.indices) for s in d.random_split(range(17), [0.5, 0.3, 0.2])],
            [list(s.indices) for s in d.random_split(range(10), [3, 7], generator=g)],
            list(d.RandomSampler(range(10))),
            list(d.RandomSampler(range(10), replacement=True, num_samples=70)),
            list(d.RandomSampler(range(10), num_samples=25, generator=g)),
            list(d.SubsetRandomSampler([3, 5, 7, 9])),
            list(d.WeightedRandomSampler([0.1, 0.2, 0.7, 1.0], 9)),
            list(d.WeightedRandomSampler([0.1, 0.2, 0.7, 1.0], 3, replacement=False, generator=g)),
        ]
        for drop_last in (False, True):
            for shuffle in (False, True):
                for rank in range(3):
                    s = d.DistributedSampler(range(10), 3, rank, shuffle=shuffle, drop_last=drop_last, seed=4)
                    s.set_epoch(2)
                    found += [list(s), len(s)]
        return [*found, list(d.DistributedSampler(range(2), 5, 4, shuffle=False))]

    assert draw(flambeau) == draw(torch)


@pytest.mark.parametrize("n", [0, 1, 6, 7])
@pytest.mark.parametrize("drop_last", [False, True])
def test_batch_sampler(n, drop_last):
    sampler = data.BatchSampler(range(n), 3, drop_last)
    batches = list(sampler)
    assert len(sampler) == len(batches) == (n // 3 if drop_last else -(-n // 3))
    assert [i for b in batches for i in b] == list(range(n - n % 3 if drop_last else n))


def test_tensor_datasets_are_indexed_at_once():
    """The shortcut for tensors gives what collating single samples gives, also through subsets."""
    dataset = numbers(flambeau)
    subset = data.Subset(data.Subset(dataset, [5, 3, 9, 11, 2]), [4, 0, 2])
    for source in (dataset, subset):
        quick = list(DataLoader(source, batch_size=2))
        slow = list(DataLoader(source, batch_size=2, collate_fn=lambda b: data.default_collate(b)))
        assert plain(quick) == plain(slow) and type(quick[0]) is type(slow[0])


class Squares(data.Dataset):
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if not 0 <= i < self.n:
            raise IndexError(i)
        return i * i


def test_concatenation():
    both = Squares(3) + Squares(2)
    assert isinstance(both, data.ConcatDataset) and len(both) == 5
    assert [both[i] for i in range(5)] == [0, 1, 4, 0, 1]
    assert both[-1] == 1
    with pytest.raises(ValueError, match="absolute value"):
        both[-6]
    with pytest.raises(AssertionError, match="empty iterable"):
        data.ConcatDataset([])


def test_stacks():
    pairs = data.StackDataset(Squares(3), numbers(flambeau, 3))
    assert pairs[2][0] == 4 and pairs[2][1][1].item() == 2
    named = data.StackDataset(a=Squares(3), b=Squares(3))
    assert named[1] == {"a": 1, "b": 1}
    assert named.__getitems__([0, 2]) == [{"a": 0, "b": 0}, {"a": 4, "b": 4}]
    assert pairs.__getitems__([1])[0][0] == 1
    for make in (
        lambda: data.StackDataset(),
        lambda: data.StackDataset(Squares(1), Squares(2)),
        lambda: data.StackDataset(Squares(1), a=Squares(1)),
    ):
        with pytest.raises(ValueError):
            make()


def test_subsets_with_half_an_override_are_refused():
    class Half(data.Subset):
        def __getitem__(self, i):
            return super().__getitem__(i) + 1

    with pytest.raises(NotImplementedError, match="__getitems__"):
        Half(Squares(3), [0])


class Stream(data.IterableDataset):
    def __init__(self, n, length=None):
        self.n, self.length = n, length

    def __iter__(self):
        return iter(range(self.n))

    def __len__(self):
        return self.length


def test_streams():
    assert [b.tolist() for b in DataLoader(Stream(5), batch_size=2)] == [[0, 1], [2, 3], [4]]
    assert [b.tolist() for b in DataLoader(Stream(5), batch_size=2, drop_last=True)] == [[0, 1], [2, 3]]
    assert list(DataLoader(Stream(3), batch_size=None)) == [0, 1, 2]
    assert list(Stream(2) + Stream(3)) == [0, 1, 0, 1, 2]
    loader = DataLoader(Stream(5, length=3), batch_size=1)
    assert len(loader) == 3
    with pytest.warns(UserWarning, match="reported to be 3"):
        assert len(list(loader)) == 5


Point = collections.namedtuple("Point", "x y")

BATCHES = [
    [1, 2, 3],
    [1.5, 2.5],
    [True, False],
    ["a", "b"],
    [b"a", b"b"],
    [np.float32(1), np.float32(2)],
    [np.int16(1), np.int16(2)],
    [np.bool_(True), np.bool_(False)],
    [np.arange(3), np.arange(3)],
    [np.array(1.0), np.array(2.0)],
    [(1, "a", 2.0), (2, "b", 3.0)],
    [[1, 2], [3, 4]],
    [{"a": 1, "b": [1.0, 2.0]}, {"a": 2, "b": [3.0, 4.0]}],
    [Point(1, 2.0), Point(3, 4.0)],
    [collections.OrderedDict(a=1), collections.OrderedDict(a=2)],
    [(), ()],
]


@pytest.mark.parametrize("batch", BATCHES, ids=str)
@pytest.mark.parametrize("function", ["default_collate", "default_convert"])
def test_collation(batch, function):
    torch = pytest.importorskip("torch")
    ours, reference = (getattr(lib.utils.data, function)(batch) for lib in (flambeau, torch))
    assert plain(ours) == plain(reference)
    assert type(ours) is type(reference) or hasattr(ours, "dtype")


@pytest.mark.parametrize(
    "batch", [[object()], [np.array(["a"])], [np.array([object()])], [[1, 2], [1]], [None], [np.zeros(2), np.zeros(3)]]
)  # fmt: skip
def test_what_cannot_be_collated(batch):
    torch = pytest.importorskip("torch")
    errors = []
    for lib in (torch, flambeau):
        with pytest.raises((TypeError, RuntimeError)) as found:
            lib.utils.data.default_collate(batch)
        errors.append(found.type)
    assert errors[0] is errors[1]


def test_a_batch_keeps_the_history_of_its_samples():
    x = flambeau.ones(4, 2, requires_grad=True)
    (batch,) = next(iter(DataLoader(TensorDataset(x), batch_size=3)))
    batch.sum().backward()
    assert x.grad.tolist() == [[1, 1]] * 3 + [[0, 0]]


BAD = [
    {"num_workers": -1},
    {"timeout": -1},
    {"prefetch_factor": 2},
    {"num_workers": 1, "prefetch_factor": -1},
    {"persistent_workers": True},
    {"multiprocessing_context": "fork"},
    {"num_workers": 1, "multiprocessing_context": "spoon"},
    {"num_workers": 1, "multiprocessing_context": 3},
    {"sampler": [0], "shuffle": True},
    {"batch_sampler": [[0]], "batch_size": 2},
    {"batch_sampler": [[0]], "shuffle": True},
    {"batch_size": None, "drop_last": True},
    {"batch_size": 0},
    {"batch_size": 2.5},
    {"drop_last": 1},
]


@pytest.mark.parametrize("options", BAD, ids=str)
def test_bad_options(options):
    torch = pytest.importorskip("torch")
    errors = []
    for lib in (torch, flambeau):
        with pytest.raises((ValueError, TypeError)) as found:
            lib.utils.data.DataLoader(list(range(3)), **options)
        errors.append((found.type, str(found.value)))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("options", [{"shuffle": True}, {"sampler": [0]}, {"batch_sampler": [[0]]}])
def test_streams_have_no_order(options):
    with pytest.raises(ValueError, match="IterableDataset"):
        DataLoader(Stream(3), **options)


def test_empty_datasets():
    assert list(DataLoader([])) == [] and len(DataLoader([])) == 0
    with pytest.raises(ValueError, match="num_samples"):
        DataLoader([], shuffle=True)


def test_attributes_that_make_no_sense_to_change():
    loader = DataLoader([1, 2])
    for name in ("batch_size", "sampler", "dataset", "drop_last", "batch_sampler", "persistent_workers"):
        with pytest.raises(ValueError, match=name):
            setattr(loader, name, None)
    loader.num_workers = 0  # may be


def test_pin_memory_is_accepted():
    with pytest.warns(UserWarning, match="pin_memory"):
        assert len(list(DataLoader([1, 2], pin_memory=True))) == 2


def test_bad_splits_and_samplers():
    for make in (
        lambda: data.random_split(range(5), [1, 2]),
        lambda: data.random_split(range(5), [1.5, -0.5]),
        lambda: data.RandomSampler(range(3), num_samples=0),
        lambda: data.WeightedRandomSampler([1.0], 0),
        lambda: data.WeightedRandomSampler([[1.0]], 1),
        lambda: data.WeightedRandomSampler([1.0], 1, replacement=1),
        lambda: data.BatchSampler(range(3), True, False),
        lambda: data.DistributedSampler(range(3), 2, 2),
    ):
        with pytest.raises(ValueError):
            make()
    with pytest.raises(TypeError):
        data.RandomSampler(range(3), replacement=1)
    with pytest.raises(AssertionError, match="Size mismatch"):
        TensorDataset(flambeau.zeros(2), flambeau.zeros(3))
    with pytest.warns(UserWarning, match="Length of split at index 1 is 0"):
        data.random_split(range(1), [0.9, 0.1])


def test_a_sampler_of_far_more_than_is_drawn() -> None:
    data = flambeau.utils.data
    sampler = data.RandomSampler(range(7), replacement=True, num_samples=10**12)
    tracemalloc.start()
    assert all(0 <= i < 7 for i in itertools.islice(sampler, 100)) and len(sampler) == 10**12
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_no_warnings_without_workers():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert data.get_worker_info() is None
        assert len(list(DataLoader(Squares(5), batch_size=2))) == 3


def test_parts_of_collation_under_pytorchs_names():
    from flambeau.utils.data._utils.collate import collate, default_collate_fn_map
    from flambeau.utils.data.dataloader import default_collate, get_worker_info

    assert get_worker_info() is None
    functions = {**default_collate_fn_map, str: lambda batch, *, collate_fn_map=None: "+".join(batch)}
    numbers, text = collate([(1, "a"), (2, "b")], collate_fn_map=functions)
    assert numbers.tolist() == [1, 2] and text == "a+b"
    assert default_collate([(1, "a"), (2, "b")])[1] == ("a", "b")


@pytest.mark.parametrize("workers", [0, 2])
def test_iterators_take_what_has_a_loaders_attributes(workers):
    from flambeau.utils.data.dataloader import (
        _DatasetKind,
        _MultiProcessingDataLoaderIter,
        _SingleProcessDataLoaderIter,
    )

    class Batches:  # as fastai's loaders make their iterators
        _IterableDataset_len_called, _auto_collation, drop_last, in_order = None, False, False, True
        generator, prefetch_factor, worker_init_fn, timeout = None, 2, None, 0
        multiprocessing_context, pin_memory, persistent_workers = None, False, False
        num_workers = workers
        _dataset_kind = _DatasetKind.Iterable

        def __init__(self):
            self.dataset = self
            self._index_sampler = range(100)

        def collate_fn(self, batch):
            return batch

        def __iter__(self):
            return iter([flambeau.ones(2), flambeau.zeros(3)])

    kind = _MultiProcessingDataLoaderIter if workers else _SingleProcessDataLoaderIter
    assert sorted(b.tolist() for b in kind(Batches())) == sorted([[1, 1], [0, 0, 0]] * max(workers, 1))
