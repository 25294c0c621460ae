"""The DataLoader: batches from a dataset, in this process or from worker processes."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.context import BaseContext
from typing import Any, Generic, TypeVar

from .collate import default_collate, default_convert
from .dataset import Dataset, IterableDataset
from .fetch import DatasetKind, fetcher
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, draw_seed
from .worker import RESTART, Failure, Job, Pool, Restarted, StreamEnd, get_worker_info, new_prefix

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]

T_co = TypeVar("T_co", covariant=True)
_collate_fn_t = Callable[[list[Any]], Any]  # libraries annotate with it
_DatasetKind = DatasetKind
_FIXED = frozenset(["batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"])


class _Endless(Sampler[None]):
    """The sampler of a stream, which has no indices."""

    def __iter__(self) -> Iterator[None]:
        return itertools.repeat(None)


class DataLoader(Generic[T_co]):
    """An iterable over batches of a dataset.

    `shuffle`, or a `sampler` of indices, or a `batch_sampler` of lists of them say in which order;
    `collate_fn` makes a batch of a list of samples; ``batch_size=None`` loads single samples. With
    `num_workers` processes load ahead, `prefetch_factor` batches each; `worker_init_fn` is called with the
    worker's number in each, `persistent_workers` keeps them for the next pass, `timeout` is in seconds. Each
    pass draws one seed for the workers from `generator` and shuffles as PyTorch does, so the same seed gives
    the same batches.

    Raises: ValueError for options that exclude each other or are out of range. While iterating: what the
    dataset raises, with the worker's traceback; RuntimeError when a worker dies or does not answer in time.

    >>> import flambeau as torch
    >>> data = torch.utils.data.TensorDataset(torch.arange(5.0))
    >>> for (x,) in torch.utils.data.DataLoader(data, batch_size=2):
    ...     print(x)
    tensor([0., 1.])
    tensor([2., 3.])
    tensor([4.])
    """

    dataset: Dataset[T_co]
    batch_size: int | None
    num_workers: int
    pin_memory: bool
    drop_last: bool
    timeout: float
    sampler: Any
    pin_memory_device: str
    prefetch_factor: int | None
    _iterator: Any
    _initialized = False

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler[Any] | Iterable[Any] | None = None,
        batch_sampler: Sampler[list[Any]] | Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        streams = isinstance(dataset, IterableDataset)
        self._dataset_kind = DatasetKind.Iterable if streams else DatasetKind.Map
        if self._streams:
            given = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
            for name, value in given.items():
                if value is not None:
                    raise ValueError(
                        f"DataLoader with IterableDataset: expected unspecified {name} option, but got "
                        f"{name}={value}"
                    )
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and "
                    "drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
            )
        if sampler is None:
            source: Any = dataset
            if self._streams:
                sampler = _Endless()
            else:
                sampler = RandomSampler(source, generator=generator) if shuffle else SequentialSampler(source)
        if batch_size is not None and batch_sampler is None:
            indices: Any = sampler
            batch_sampler = BatchSampler(indices, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        if collate_fn is None:
            collate_fn = default_collate if self._auto_collation else default_convert
        self.collate_fn = collate_fn
        self.persistent_workers = persistent_workers
        self._iterator = None
        self._IterableDataset_len_called: int | None = None  # of a stream, if it was asked for
        self._initialized = True
        self.check_worker_number_rationality()

    @property
    def multiprocessing_context(self) -> Any:
        """How worker processes are started; None is the default way."""
        return self._multiprocessing_context

    @multiprocessing_context.setter
    def multiprocessing_context(self, value: Any) -> None:
        if value is not None:
            if self.num_workers == 0:
                raise ValueError(
                    "multiprocessing_context can only be used with multi-process loading (num_workers > 0), "
                    "but got "
                    f"num_workers={self.num_workers}"
                )
            if isinstance(value, str):
                methods = multiprocessing.get_all_start_methods()
                if value not in methods:
                    raise ValueError(
                        "multiprocessing_context option should specify a valid start method in "
                        f"{methods!r}, but got multiprocessing_context={value!r}"
                    )
                value = multiprocessing.get_context(value)
            if not isinstance(value, BaseContext):
                raise TypeError(
                    "multiprocessing_context option should be a valid context object or a string specifying "
                    "the "
                    f"start method, but got multiprocessing_context={value}"
                )
        self._multiprocessing_context = value

    def __setattr__(self, name: str, value: Any) -> None:
        if self._initialized and name in _FIXED:
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    def __iter__(self) -> Iterator[Any]:
        if self.num_workers == 0:
            return _SingleProcessDataLoaderIter(self)
        if not self.persistent_workers:
            return _MultiProcessingDataLoaderIter(self)
        if self._iterator is None or self._iterator.closed:
            self._iterator = _MultiProcessingDataLoaderIter(self)
        else:
            self._iterator.restart(self)
        return self._iterator  # type: ignore[no-any-return]

    @property
    def _streams(self) -> bool:
        return self._dataset_kind == DatasetKind.Iterable

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        return self.batch_sampler if self._auto_collation else self.sampler

    def __len__(self) -> int:
        if not self._streams:
            return len(self._index_sampler)
        length = self._IterableDataset_len_called = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is None:
            return length
        return length // self.batch_size if self.drop_last else math.ceil(length / self.batch_size)

    def check_worker_number_rationality(self) -> None:
        """Warn about more workers than this process may use cores."""
        if hasattr(os, "sched_getaffinity"):
            cores = len(os.sched_getaffinity(0))
        else:
            cores = os.cpu_count() or 1
        if self.num_workers > cores:
            warnings.warn(
                f"This DataLoader will create {self.num_workers} worker processes in total. Our suggested "
                "max number "
                f"of worker in current system is {cores}, which is smaller than what this DataLoader is "
                "going to "
                "create. Please be aware that excessive worker creation might get DataLoader running slow "
                "or even "
                "freeze, lower the worker number to avoid potential slowness/freeze if necessary.",
                stacklevel=3,
            )


def _check_workers(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool
) -> None:
    if num_workers < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable multiprocessing."
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing."
            "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent_workers and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")


class _BaseDataLoaderIter:
    """An iterator over the batches of a loader, or of what has a loader's attributes (fastai's loaders do)."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        if loader.pin_memory:
            warnings.warn(
                "'pin_memory' argument is set as true but no accelerator is found, then device pinned "
                "memory won't "
                "be used.",
                stacklevel=3,
            )
        self._dataset = loader.dataset
        self._streams = loader._dataset_kind == DatasetKind.Iterable
        self._index_sampler = loader._index_sampler
        self._num_workers = loader.num_workers
        self._start(loader)
        self._base_seed = draw_seed(loader.generator)

    def _start(self, loader: DataLoader[Any]) -> None:
        self._indices = iter(self._index_sampler)
        self._yielded = 0
        self._reported_length = loader._IterableDataset_len_called

    def __iter__(self) -> _BaseDataLoaderIter:
        return self

    def __len__(self) -> int:
        return len(self._index_sampler)

    def __getstate__(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} cannot be pickled")

    def _next_data(self) -> Any:
        raise NotImplementedError

    def __next__(self) -> Any:
        data = self._next_data()
        self._yielded += 1
        if self._streams and self._reported_length is not None and self._yielded > self._reported_length:
            hint = ""
            if self._num_workers > 0:
                hint = (
                    "For multiprocessing data-loading, this could be caused by not properly configuring the "
                    "IterableDataset replica at each worker (see get_worker_info)."
                )
            warnings.warn(
                f"Length of IterableDataset {self._dataset} was reported to be {self._reported_length} (when "
                f"accessing len(dataloader)), but {self._yielded} samples have been fetched. {hint}",
                stacklevel=2,
            )
        return data


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    """Loads when asked, in this process."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        super().__init__(loader)
        if loader.timeout != 0:
            raise AssertionError("timeout needs num_workers > 0")
        self._source = fetcher(
            loader._dataset_kind, loader.dataset, loader._auto_collation, loader.collate_fn, loader.drop_last
        )

    def _next_data(self) -> Any:
        return self._source.fetch(next(self._indices))


class _Task:
    """A batch that a worker was asked for."""

    __slots__ = ("worker", "arrived", "data")

    def __init__(self, worker: int) -> None:
        self.worker = worker
        self.arrived = False
        self.data: Any = None


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    """Has batches loaded ahead by worker processes, and returns them in the order of the sampler."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        super().__init__(loader)
        if not loader.prefetch_factor:
            raise AssertionError("prefetch_factor must be greater than 0 for worker processes")
        self._ahead = loader.prefetch_factor * loader.num_workers
        self._timeout = loader.timeout
        self._in_order = loader.in_order
        self._persistent = loader.persistent_workers
        self.closed = False
        job = Job(
            kind=loader._dataset_kind,
            dataset=loader.dataset,
            auto_collation=loader._auto_collation,
            collate_fn=loader.collate_fn,
            drop_last=loader.drop_last,
            base_seed=self._base_seed,
            init_fn=loader.worker_init_fn,
            num_workers=loader.num_workers,
            prefix=new_prefix(),
        )
        self._pool = Pool(loader.multiprocessing_context or multiprocessing.get_context(), job)
        self._start(loader)
        self._begin()

    @property
    def _workers(self) -> list[Any]:
        return self._pool.processes

    def _begin(self) -> None:
        self._tasks: dict[int, _Task] = {}
        self._sent = 0  # number of the next task
        self._wanted = 0  # number of the batch to return next
        self._active = [True] * self._num_workers
        self._loads = [0] * self._num_workers  # tasks that a worker has
        self._turns = itertools.cycle(range(self._num_workers))
        for _ in range(self._ahead):
            self._ask()

    def restart(self, loader: DataLoader[Any]) -> None:
        """Begin another pass with the same workers."""
        self._start(loader)
        for i in range(self._num_workers):
            self._pool.send(i, RESTART)
        waiting = self._num_workers
        while waiting:  # answers of the pass before may come first
            _, data = self._receive()
            waiting -= isinstance(data, Restarted)
        self._begin()

    def _ask(self) -> None:
        """Give the next batch to the next worker that is free."""
        try:
            index = next(self._indices)
        except StopIteration:
            return
        for worker in itertools.islice(self._turns, self._num_workers):
            share = self._ahead // max(1, sum(self._active))
            if self._active[worker] and (self._in_order or self._loads[worker] < share):
                break
        else:
            return
        self._pool.send(worker, (self._sent, index))
        self._tasks[self._sent] = _Task(worker)
        self._loads[worker] += 1
        self._sent += 1

    def _receive(self) -> tuple[Any, Any]:
        try:
            return self._pool.receive(self._timeout)
        except BaseException:
            self._close()
            raise

    def _next_data(self) -> Any:
        while True:
            self._skip_dropped()
            if self._wanted == self._sent or self.closed:
                if not self._persistent:
                    self._close()
                raise StopIteration
            task = self._tasks[self._wanted]
            if not task.arrived:
                number, data = self._receive()
                task = self._tasks[number]
                if isinstance(data, StreamEnd):
                    self._end_stream(task.worker)
                    continue
                task.arrived, task.data = True, data
                if number != self._wanted and self._in_order:
                    continue
                del self._tasks[number]
            else:
                del self._tasks[self._wanted]
            return self._deliver(task)

    def _end_stream(self, worker: int) -> None:
        self._active[worker] = False
        if not self._persistent:
            self._pool.retire(worker)
        self._ask()

    def _skip_dropped(self) -> None:
        """Pass over batches that were given out already, or asked of a worker whose stream has ended."""
        while self._wanted < self._sent:
            task = self._tasks.get(self._wanted)
            if task is not None and (task.arrived or self._active[task.worker]):
                return
            self._tasks.pop(self._wanted, None)
            self._wanted += 1

    def _deliver(self, task: _Task) -> Any:
        self._loads[task.worker] -= 1
        self._ask()
        if isinstance(task.data, Failure):
            task.data.reraise()
        return task.data

    def _close(self) -> None:
        self.closed = True
        self._pool.shut_down()
