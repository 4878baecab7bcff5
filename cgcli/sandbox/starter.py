"""Runs first in the program's interpreter: sets the limits, reports that it is ready and runs the program; at the end
it reports how the program ended, where, and which checks passed.

The interpreter gets this file as text. It imports nothing of cgcli and as little as possible of the standard library:
its start-up time counts as the program's. Once the program has begun, it can forge these reports; see run.py.

Command line: report=N,checks=N,cpu=N,... | path of the source | the program's name | checks | arguments.
"""

from __future__ import annotations

import os
import resource
import sys
from types import CodeType, ModuleType, TracebackType

_MOST_NAMES, _NAMES_S, _SHOWN = 40, 1.0, 100
#: Address space above the limit, to report a MemoryError while the objects that filled the memory are still alive.
_SPARE_BYTES = 32 * 1024**2


def main() -> None:
    settings, path, name, *words = sys.argv[1:]
    given = {key: int(value) for key, value in (word.split("=") for word in settings.split(","))}
    checks, arguments = words[: given["checks"]], words[given["checks"] :]
    report, memory = given["report"], given["memory"]
    if given["sandbox"]:
        report = _out_of_reach(report, given["files"])
        # The process that started this one may have left descriptors open, such as of folders outside.
        os.closerange(3, report)
        os.closerange(report + 1, os.sysconf("SC_OPEN_MAX"))
    with open(path, "rb") as file:  # noqa: PTH123 (pathlib would be another import)
        source = file.read()
    if given["sandbox"]:
        _stand_in_for_site()
    sys.argv[:] = [name, *arguments]
    module = ModuleType("__main__")
    module.__file__ = name
    sys.modules["__main__"] = module
    # As on a terminal: output appears as it comes, even if the program is stopped later.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    _limit(given, memory)
    _report_ready(report, given["sandbox"])
    own = os.getpid()
    how = "end"
    try:
        exec(_compiled(source, name), module.__dict__)
    except SystemExit as leaving:
        if not (leaving.code is None or (isinstance(leaving.code, int) and leaving.code == 0)):
            if os.getpid() == own:
                _report_place(report, leaving, name)
            raise
        how = "exit"
    except BaseException as error:
        resource.setrlimit(resource.RLIMIT_AS, (resource.getrlimit(resource.RLIMIT_AS)[1],) * 2)
        traceback = error.__traceback__
        while traceback and traceback.tb_frame.f_globals is globals():  # frames of the starter
            traceback = traceback.tb_next
        if os.getpid() == own:  # forked children of the program get here, too
            _report(report, "error", *_described(error))
            _report_place(report, error, name)
            if given["names"]:
                _report_names(report, module)
        sys.excepthook(type(error), error.with_traceback(traceback), traceback)
        raise SystemExit(1) from None
    if os.getpid() == own:
        _report(report, how)
        for number, check in enumerate(checks):
            why = _failure(check, module)
            if os.getpid() == own:
                _report(report, "check", str(number), why)
        if given["names"]:
            _report_names(report, module)
    if not given["lingers"]:
        os._exit(0)


def _out_of_reach(report: int, limit: int) -> int:
    """Move the channel above the limit on descriptors: a program that closes all its descriptors, or writes to each,
    does not reach it there."""
    try:
        return os.dup2(report, limit, inheritable=False)
    except OSError:  # the limit is already lower
        return report


def _failure(check: str, module: ModuleType) -> str:
    """Why a check fails at the program's end; "" if it passes."""
    try:
        return "" if eval(compile(check, "--check", "eval", dont_inherit=True), module.__dict__) else "not true"
    except BaseException as error:
        kind, _, message = _described(error)
        return f"{kind}: {message}"[:200] if message else kind


def _compiled(source: bytes, name: str) -> CodeType:
    """The program's code. Raises SyntaxError for source that nests too deeply, for which Python raises MemoryError or
    RecursionError."""
    before = _address_space()
    try:
        return compile(source, name, "exec", dont_inherit=True)
    except RecursionError:
        pass
    except MemoryError:
        room = resource.getrlimit(resource.RLIMIT_AS)[0] - before
        if _address_space("VmPeak") - before > room // 2:
            raise
    raise SyntaxError("too deeply nested")


def _address_space(which: str = "VmSize") -> int:
    """This process's address space in bytes, now or at its largest (VmPeak); 0 without /proc."""
    try:
        with open("/proc/self/status", "rb") as file:  # noqa: PTH123
            return next(1024 * int(line.split()[1]) for line in file if line.startswith(which.encode()))
    except OSError:
        return 0


def _stand_in_for_site() -> None:
    """Provide what programs expect of `site`, which is off (-S) because it runs code of installed packages."""
    import site

    site.setquit()
    site.sethelper()
    sys.path.append("/packages")


def _limit(given: dict[str, int], memory: int) -> None:
    limits = {
        resource.RLIMIT_AS: (memory, memory + _SPARE_BYTES),
        resource.RLIMIT_CPU: (given["cpu"], given["cpu"] + 1),  # SIGXCPU, which only says this, before SIGKILL
        resource.RLIMIT_FSIZE: (given["file"],) * 2,
        resource.RLIMIT_CORE: (0, 0),
    }
    if given["sandbox"]:
        limits |= {
            resource.RLIMIT_NPROC: (given["processes"],) * 2,
            resource.RLIMIT_NOFILE: (given["files"],) * 2,
            resource.RLIMIT_MSGQUEUE: (0, 0),
            resource.RLIMIT_MEMLOCK: (0, 0),
        }
    for kind, (soft, hard) in limits.items():
        highest = resource.getrlimit(kind)[1]
        if highest == resource.RLIM_INFINITY:
            highest = hard
        resource.setrlimit(kind, (min(soft, highest), min(hard, highest)))


def _report_ready(report: int, sandboxed: int) -> None:
    """Report that the program begins. From a sandbox, also pass its /proc, which shows its processes."""
    if not sandboxed:
        os.write(report, b"!")
        return
    import _socket

    processes = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    channel = _socket.socket(fileno=os.dup(report))
    passed = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, processes.to_bytes(4, sys.byteorder))
    channel.sendmsg([b"!"], [passed])
    channel.close()
    os.close(processes)


def _report_place(report: int, error: BaseException, name: str) -> None:
    """Report two lines of the program itself, 0 if there are none: the innermost one in the traceback, and the
    outermost one, which belongs to the top-level statement that was running."""
    first = last = 0
    if isinstance(error, SyntaxError) and error.filename == name:
        first = last = error.lineno or 0
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == name:
            last = traceback.tb_lineno
            first = first or last
        traceback = traceback.tb_next
    _report(report, "at", str(last), str(first))


def _report_names(report: int, module: ModuleType) -> None:
    """Report the program's variables, each with its type and a short value. What the program says of its own objects
    counts against a time of its own, so that a program that ran stays one that ran."""
    import reprlib
    import signal

    class Late(BaseException):
        """Not an Exception, which a program might catch."""

    def stop(*_: object) -> None:
        raise Late

    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 50
    no_variables = ModuleType, type(main), type(len), type
    named = [
        (name, one) for name, one in vars(module).items() if name[:1] != "_" and not issubclass(type(one), no_variables)
    ]
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, _NAMES_S, 0.05)
    in_time = True
    for name, one in named[-_MOST_NAMES:]:
        value = "…"
        try:
            if in_time:
                value = short.repr(one)
        except Late:
            in_time = False
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Exception as error:
            value = f"<{type(error).__name__}>"
        _report(report, "name", name, type(one).__name__, str(value)[:_SHOWN])
    signal.setitimer(signal.ITIMER_REAL, 0)


def _described(error: BaseException) -> tuple[str, str, str]:
    """Its class, the errno of an OSError, and the first line of its message."""
    kind = type(error)
    module = "" if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}."
    number = error.errno if isinstance(error, OSError) else None
    try:
        # A SyntaxError's str names file and line again.
        message = str(error.msg if isinstance(error, SyntaxError) else error)
    except Exception:
        message = ""
    return module + kind.__qualname__, str(number or 0), next(iter(message.splitlines()), "")[:1000]


def _report(report: int, *words: str) -> None:
    """Write a record on a line of its own; do nothing if the program closed the channel."""
    record = "\0".join(word.replace("\0", " ").replace("\n", " ") for word in words)
    try:  # noqa: SIM105 (contextlib would be another import)
        os.write(report, f"\n{record}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        pass


main()
