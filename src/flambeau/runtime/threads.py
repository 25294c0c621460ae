"""How many threads compute, and the pool that runs them.

The pool is generated code: workers live outside of Python and never need its lock.  A region is `n` chunks of
work.  Every thread has a ticket, a range of chunk numbers of its own from which it takes one after another
with a single atomic addition; when the range is empty it helps itself from the others' tickets.  The caller
works like the rest and then waits only for chunks that were begun: a worker that sleeps, or that the system
has not scheduled, costs nothing.  A region inside a region, or from a second thread at the same time, runs
serially in its caller.

Workers spin for a fraction of a millisecond after a region and then sleep on a futex.  They start with the
first region that has work for them, so a forked child (whose workers do not exist) starts its own.
Elsewhere than on Linux regions run serially.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
import threading
from collections.abc import Callable, Mapping

__all__ = ["MAX_CHUNKS", "MAX_THREADS", "Pool", "get_num_threads", "respect_quota", "set_num_threads"]

MAX_THREADS = 64
SPINS = 20_000  # looks at the epoch before a worker sleeps: about half a millisecond
_TICKET_BITS = 24  # a ticket is: epoch (16 bits), end of the range (24), next chunk (24)
MAX_CHUNKS = (1 << _TICKET_BITS) - 2 * MAX_THREADS - 1


def _quota() -> int | None:
    """The whole CPUs that the control group grants, None without a limit."""
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as f:
            quota, period = f.read().split()[:2]
        return None if quota == "max" else max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        return None


def _default_threads() -> int:
    for name in ("FLAMBEAU_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "").split(",")[0].strip()
        if text.isdigit() and int(text) > 0:
            return min(int(text), MAX_THREADS)
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return min(count, _quota() or count, MAX_THREADS)


class _State:
    """The wanted number of threads, and the pool once it exists."""

    def __init__(self) -> None:
        self.threads = _default_threads()
        self.pool: Pool | None = None
        self.lock = threading.Lock()


_state = _State()


def get_num_threads() -> int:
    """The number of threads that compute.

    >>> from flambeau.runtime.threads import get_num_threads
    >>> get_num_threads() >= 1
    True
    """
    return _state.threads


def set_num_threads(num: int) -> None:
    """Set the number of threads that compute, the calling one included.

    At start it is ``FLAMBEAU_NUM_THREADS``, ``OMP_NUM_THREADS``, or the CPUs that this process may use.
    Numbers above 64 count as 64. Threads already started are kept, asleep. The linear algebra of NumPy and SciPy, which
    some functions use, computes with as many threads from then on.

    Raises: TypeError unless `num` is an int; RuntimeError unless it is positive.
    """
    if not isinstance(num, int) or isinstance(num, bool):
        raise TypeError(f"set_num_threads expects an int, but got {type(num).__name__}")
    if num <= 0:
        raise RuntimeError(f"set_num_threads expects a positive integer, but got {num}")
    with _state.lock:
        _state.threads = min(num, MAX_THREADS)
        if _state.pool is not None:
            _state.pool.resize(_state.threads)
    from .blas import limit_threads  # later: to look for libraries takes longer than most imports

    limit_threads(_state.threads)


def respect_quota() -> None:
    """Keep linear algebra libraries from using more threads than the control group, or the user, grants CPUs."""
    if _state.threads < (os.cpu_count() or 1):
        from .blas import limit_threads

        limit_threads(_state.threads)


class Pool:
    """The generated pool; `get` makes it once per process.

    `run_address` is the function ``void run(ptr f, ptr context, i64 n)``, which calls ``f(i64 i, ptr
    context)`` for every ``0 <= i < n``, with ``n <= MAX_CHUNKS``. `wanted_address` is an i32: the number of
    threads.
    """

    def __init__(self, build: Callable[[str, list[str]], Mapping[str, int]]) -> None:
        linux = sys.platform == "linux"
        text = _linux_text() if linux else _SERIAL
        names = ["pool.run", "pool.wanted", *(["pool.reset", "pool.started"] if linux else [])]
        addresses = build(text, names)
        self.run_address = addresses["pool.run"]
        self.wanted_address = addresses["pool.wanted"]
        self._wanted = ctypes.c_int32.from_address(self.wanted_address)
        self._run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(self.run_address)
        self._started = ctypes.c_int32.from_address(addresses["pool.started"]) if linux else ctypes.c_int32(1)
        self._reset = ctypes.PYFUNCTYPE(None)(addresses["pool.reset"]) if linux else None

    @classmethod
    def get(cls, build: Callable[[str, list[str]], Mapping[str, int]]) -> Pool:
        """The process's pool. `build` compiles LLVM assembly and returns the addresses of names in it."""
        with _state.lock:
            if _state.pool is None:
                _state.pool = cls(build)
                _state.pool.resize(_state.threads)
            return _state.pool

    def resize(self, threads: int) -> None:
        """Use `threads` threads from the next region on."""
        self._wanted.value = threads

    @property
    def started(self) -> int:
        """Threads that exist, the caller's included."""
        return self._started.value

    def run(self, function: int, context: int, chunks: int) -> None:
        """Run a region from Python, without Python's lock.

        Raises: ValueError for more chunks than a region can have.
        """
        if not 0 <= chunks <= MAX_CHUNKS:
            raise ValueError(f"a region has 0 to {MAX_CHUNKS} chunks, got {chunks}")
        self._run(function, context, chunks)

    def after_fork(self) -> None:
        """Forget the parent's workers."""
        if self._reset is not None:
            self._reset()


def _after_fork_in_child() -> None:
    _state.lock = threading.Lock()
    if _state.pool is not None:
        _state.pool.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


_SERIAL = """
@pool.wanted = global i32 1, align 64
define void @pool.run(ptr %f, ptr %c, i64 %n) nounwind {
entry:
  %any = icmp ugt i64 %n, 0
  br i1 %any, label %loop, label %done
loop:
  %i = phi i64 [0, %entry], [%j, %loop]
  call void %f(i64 %i, ptr %c)
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""


def _linux_text() -> str:
    machine = os.uname().machine
    x86 = machine in ("x86_64", "AMD64")
    futex = {"x86_64": 202, "aarch64": 98}.get(machine)
    if futex is None:
        return _SERIAL + (
            "@pool.started = global i32 1, align 64\ndefine void @pool.reset() nounwind {\n  ret void\n}\n"
        )
    declare = "declare void @llvm.x86.sse2.pause()" if x86 else "declare void @llvm.aarch64.hint(i32)"
    pause = "call void @llvm.x86.sse2.pause()" if x86 else "call void @llvm.aarch64.hint(i32 1)"
    text = _LINUX
    for name, value in {
        "DECLARE_PAUSE": declare,
        "PAUSE": pause,
        "FUTEX": str(futex),
        "SPINS": str(SPINS),
        "MASK": str((1 << _TICKET_BITS) - 1),
        "BITS": str(_TICKET_BITS),
        "THREADS": str(MAX_THREADS),
    }.items():
        text = text.replace(f"${name}", value)
    return text


# Order of memory: a region's function and context are stored before its tickets (release), and a thread reads
# them after it took a chunk from a ticket (acquire); it adds to `done` after the chunk (release), and the
# caller leaves after it saw `done` complete (acquire).  A thread that comes late finds the tickets used up,
# or takes a chunk of the next region, for which it then reads that region's function.
_LINUX = r"""
@pool.ticket = global [$THREADS x [8 x i64]] zeroinitializer, align 64
@pool.function = global ptr null, align 64
@pool.context = global ptr null, align 8
@pool.done = global i64 0, align 64
@pool.epoch = global i32 0, align 64
@pool.sleepers = global i32 0, align 64
@pool.busy = global i32 0, align 64
@pool.started = global i32 1, align 64
@pool.active = global i32 1, align 4
@pool.wanted = global i32 1, align 4
declare i64 @syscall(i64, ...)
declare i32 @sched_yield()
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sigfillset(ptr)
$DECLARE_PAUSE

; Take chunks, beginning with the ticket of thread %me, until none are left.
define internal void @pool.work(i64 %me) noinline nounwind {
entry:
  %active = load atomic i32, ptr @pool.active monotonic, align 4
  %threads = sext i32 %active to i64
  %member = icmp ult i64 %me, %threads
  br i1 %member, label %victim, label %out
victim:
  %step = phi i64 [0, %entry], [%step.next, %exhausted]
  %sum = add i64 %me, %step
  %wraps = icmp uge i64 %sum, %threads
  %less = sub i64 %sum, %threads
  %whose = select i1 %wraps, i64 %less, i64 %sum
  %ticket = getelementptr [8 x i64], ptr @pool.ticket, i64 %whose
  br label %look
look:                                     ; look first, so that the counter is not pushed far beyond the end
  %seen = load atomic i64, ptr %ticket monotonic, align 64
  %seen.next = and i64 %seen, $MASK
  %seen.shift = lshr i64 %seen, $BITS
  %seen.end = and i64 %seen.shift, $MASK
  %some = icmp ult i64 %seen.next, %seen.end
  br i1 %some, label %take, label %exhausted
take:
  %taken = atomicrmw add ptr %ticket, i64 1 acq_rel
  %chunk = and i64 %taken, $MASK
  %shift = lshr i64 %taken, $BITS
  %end = and i64 %shift, $MASK
  %mine = icmp ult i64 %chunk, %end
  br i1 %mine, label %run, label %exhausted
run:
  %f = load atomic ptr, ptr @pool.function monotonic, align 8
  %c = load atomic ptr, ptr @pool.context monotonic, align 8
  call void %f(i64 %chunk, ptr %c)
  %finished = atomicrmw add ptr @pool.done, i64 1 acq_rel
  br label %look
exhausted:
  %step.next = add i64 %step, 1
  %more = icmp ult i64 %step.next, %threads
  br i1 %more, label %victim, label %out
out:
  ret void
}

define internal ptr @pool.main(ptr %argument) nounwind {
entry:
  %me = ptrtoint ptr %argument to i64
  br label %again
again:
  %epoch = load atomic i32, ptr @pool.epoch acquire, align 64
  call void @pool.work(i64 %me)
  br label %spin
spin:
  %count = phi i64 [0, %again], [%count.next, %pause]
  %now = load atomic i32, ptr @pool.epoch acquire, align 64
  %same = icmp eq i32 %epoch, %now
  br i1 %same, label %pause, label %again
pause:
  $PAUSE
  %count.next = add i64 %count, 1
  %patient = icmp ult i64 %count.next, $SPINS
  br i1 %patient, label %spin, label %sleep
sleep:                                    ; FUTEX_WAIT_PRIVATE returns at once if the epoch changed
  %n1 = atomicrmw add ptr @pool.sleepers, i32 1 seq_cst
  %w = call i64 (i64, ...)
    @syscall(i64 $FUTEX, ptr @pool.epoch, i32 128, i32 %epoch, ptr null, ptr null, i32 0)
  %n2 = atomicrmw sub ptr @pool.sleepers, i32 1 seq_cst
  br label %again
}

; Start the workers that are wanted and do not exist. Signals are for the threads of the program.
define internal void @pool.start(i32 %wanted) noinline nounwind {
entry:
  %thread = alloca i64
  %all = alloca [128 x i8], align 16
  %old = alloca [128 x i8], align 16
  %fill = call i32 @sigfillset(ptr %all)
  %block = call i32 @pthread_sigmask(i32 2, ptr %all, ptr %old)
  %first = load i32, ptr @pool.started
  br label %loop
loop:
  %i = phi i32 [%first, %entry], [%next, %created]
  %more = icmp slt i32 %i, %wanted
  br i1 %more, label %create, label %done
create:
  %wide = sext i32 %i to i64
  %argument = inttoptr i64 %wide to ptr
  %failed = call i32 @pthread_create(ptr %thread, ptr null, ptr @pool.main, ptr %argument)
  %fine = icmp eq i32 %failed, 0
  br i1 %fine, label %created, label %done
created:
  %handle = load i64, ptr %thread
  %detached = call i32 @pthread_detach(i64 %handle)
  %next = add i32 %i, 1
  store i32 %next, ptr @pool.started
  br label %loop
done:
  %restore = call i32 @pthread_sigmask(i32 2, ptr %old, ptr null)
  ret void
}

define void @pool.reset() nounwind {
  store i32 1, ptr @pool.started
  store i32 1, ptr @pool.active
  store i32 0, ptr @pool.sleepers
  store i32 0, ptr @pool.busy
  store [$THREADS x [8 x i64]] zeroinitializer, ptr @pool.ticket
  ret void
}

define void @pool.run(ptr %f, ptr %c, i64 %n) nounwind {
entry:
  %wanted = load i32, ptr @pool.wanted
  %alone = icmp sle i32 %wanted, 1
  %few = icmp ult i64 %n, 2
  %serial = or i1 %alone, %few
  br i1 %serial, label %serially, label %enter
enter:
  %exchange = cmpxchg ptr @pool.busy, i32 0, i32 1 acquire monotonic
  %entered = extractvalue { i32, i1 } %exchange, 1
  br i1 %entered, label %region, label %serially
serially:
  %any = icmp ugt i64 %n, 0
  br i1 %any, label %each, label %out
each:
  %j = phi i64 [0, %serially], [%j.next, %each]
  call void %f(i64 %j, ptr %c)
  %j.next = add i64 %j, 1
  %j.more = icmp ult i64 %j.next, %n
  br i1 %j.more, label %each, label %out
region:
  %have = load i32, ptr @pool.started
  %lack = icmp slt i32 %have, %wanted
  br i1 %lack, label %start, label %ready
start:
  call void @pool.start(i32 %wanted)
  br label %ready
ready:
  %started = load i32, ptr @pool.started
  %short = icmp slt i32 %started, %wanted
  %active = select i1 %short, i32 %started, i32 %wanted
  %threads = sext i32 %active to i64
  store atomic i32 %active, ptr @pool.active monotonic, align 4
  store atomic i64 0, ptr @pool.done monotonic, align 64
  store atomic ptr %f, ptr @pool.function monotonic, align 64
  store atomic ptr %c, ptr @pool.context monotonic, align 8
  %epoch = load i32, ptr @pool.epoch
  %epoch.next = add i32 %epoch, 1
  %epoch.wide = zext i32 %epoch.next to i64
  %epoch.high = shl i64 %epoch.wide, 48
  br label %deal
deal:
  %t = phi i64 [0, %ready], [%t.next, %deal]
  %t.next = add i64 %t, 1
  %share0 = mul i64 %t, %n
  %begin = udiv i64 %share0, %threads
  %share1 = mul i64 %t.next, %n
  %end = udiv i64 %share1, %threads
  %end.high = shl i64 %end, $BITS
  %upper = or i64 %epoch.high, %end.high
  %value = or i64 %upper, %begin
  %place = getelementptr [8 x i64], ptr @pool.ticket, i64 %t
  store atomic i64 %value, ptr %place release, align 64
  %t.more = icmp ult i64 %t.next, %threads
  br i1 %t.more, label %deal, label %dealt
dealt:
  store atomic i32 %epoch.next, ptr @pool.epoch seq_cst, align 64
  %asleep = load atomic i32, ptr @pool.sleepers seq_cst, align 64
  %awake = icmp eq i32 %asleep, 0
  br i1 %awake, label %go, label %wake
wake:                                     ; FUTEX_WAKE_PRIVATE
  %helpers64 = sub i64 %n, 1
  %helpers.some = call i64 @llvm.umin.i64(i64 %helpers64, i64 $THREADS)
  %helpers = trunc i64 %helpers.some to i32
  %w = call i64 (i64, ...)
    @syscall(i64 $FUTEX, ptr @pool.epoch, i32 129, i32 %helpers, ptr null, ptr null, i32 0)
  br label %go
go:
  call void @pool.work(i64 0)
  br label %wait
wait:
  %looks = phi i64 [0, %go], [%looks.next, %idle], [0, %yield]
  %done = load atomic i64, ptr @pool.done acquire, align 64
  %complete = icmp eq i64 %done, %n
  br i1 %complete, label %leave, label %pause
pause:
  %looks.next = add i64 %looks, 1
  %long = icmp ugt i64 %looks.next, 2000
  br i1 %long, label %yield, label %idle
idle:
  $PAUSE
  br label %wait
yield:                                    ; the thread that holds the last chunk may need this CPU
  %y = call i32 @sched_yield()
  br label %wait
leave:
  store atomic i32 0, ptr @pool.busy release, align 64
  br label %out
out:
  ret void
}
declare i64 @llvm.umin.i64(i64, i64)
"""
