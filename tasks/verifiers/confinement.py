"""What a process does to itself before it runs a program that nobody has read: the code sandbox, from the inside.

    isolate(folder, size)       a root, network, host name and message queues of its own; gives None, or why it cannot
    own_process_ids()           for the next child: it sees no process but its own
    give_up_privileges(user)    for good
    limit(limits)               CPU, memory, processes, file size, open files

Linux only, and asked of the kernel directly, so that nothing has to be installed. As root, the namespaces are made with
root's rights and the program then runs as a user that owns nothing; for anyone else in a user namespace, where the kernel allows
those. The new root holds Python's own library and the system's shared libraries, read-only, three devices, and
an empty `/tmp` in memory of a fixed size: no home folder, no shell, no `/proc`, no `/sys`.

Not covered: a hole in the kernel; how long memory and caches take to answer; the memory of all processes taken together (each
has its own limit, and their number has one).
"""

import ctypes
import os
import platform
import resource
import signal
import sys
from dataclasses import dataclass

NEW_MOUNTS, NEW_NAME, NEW_QUEUES, NEW_USER, NEW_PIDS, NEW_NETWORK = (
    0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
READ_ONLY, NO_SETUID, NO_DEVICES, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
NO_EXECUTION, NO_ACCESS_TIMES, NO_FOLDER_TIMES, RELATIVE_TIMES = 8, 1024, 2048, 1 << 21
DETACH = 2
DIE_WITH_PARENT, DUMPABLE, NO_NEW_PRIVILEGES = 1, 4, 38
CAPABILITIES_VERSION = 0x20080522
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache")
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
FIRST_USER = 2_000_000
"""User ids from here on belong to nobody; each sandbox that root starts takes one of its own, so that processes are counted apart."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process of a program may use, in bytes but for times and counts.

    `seconds` are of CPU time, `wait` by the clock for all together (for each run of several). `processes` is how many there may be, threads among them;
    `disk` is what the folder holds and each file may; `output` is what a run may write.
    """

    seconds: int = 5
    wait: float = 15.0
    memory: int = 512 * 2**20
    processes: int = 12
    disk: int = 64 * 2**20
    files: int = 64
    output: int = 2**20


class CannotIsolate(Exception):
    """The kernel, or who set it up, does not allow it; says what."""


def isolate(folder: str, disk: int) -> str | None:
    """Leaves everything behind but Python's library, in a root made under the empty `folder`; None, or why that cannot be done."""
    try:
        if sys.platform != "linux":
            raise CannotIsolate(f"{platform.system()} has no namespaces")
        if platform.machine() not in PIVOT_ROOT:
            raise CannotIsolate(f"it is not written for {platform.machine()} processors")
        _unshare()
        _new_root(folder, disk)
    except (CannotIsolate, OSError) as why:
        return str(why)
    return None


def own_process_ids() -> None:
    """The next child of this process is the first of a process table of its own; when it ends, the kernel ends all the others."""
    _call("unshare", NEW_PIDS)


def give_up_privileges(user: int | None) -> None:
    """Becomes `user` if one is given, drops every capability, and can gain none again; dies with its parent from here on."""
    if sys.platform != "linux":
        return
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    _call("prctl", NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0)
    _call("capset", ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))
    die_with_parent()


def hide_from_debuggers() -> None:
    """Lets no process of the same user read or steer this one."""
    if sys.platform == "linux":
        _call("prctl", DUMPABLE, 0, 0, 0, 0)


def die_with_parent() -> None:
    if sys.platform == "linux":
        _call("prctl", DIE_WITH_PARENT, int(signal.SIGKILL), 0, 0, 0)


def limit(limits: Limits) -> None:
    """Sets this process's limits, and those of all that it starts."""
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, limits.files),
        (resource.RLIMIT_FSIZE, limits.disk),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CPU, limits.seconds),
    ):
        there = resource.getrlimit(what)[1]
        most = most if there == resource.RLIM_INFINITY else min(most, there)
        # At the first limit of CPU time a program is told, which says why it ended; at the second it is killed.
        last = most + 1 if what == resource.RLIMIT_CPU and (there == resource.RLIM_INFINITY or there > most) else most
        resource.setrlimit(what, (most, last))


def _unshare() -> None:
    others = NEW_MOUNTS | NEW_NAME | NEW_QUEUES | NEW_NETWORK
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        try:
            _call("unshare", others)
            return
        except OSError:  # root of a container that lacks the capability; it may have user namespaces all the same
            pass
    try:
        _call("unshare", NEW_USER | others)
    except OSError as why:
        raise CannotIsolate(f"namespaces are not allowed here ({why.strerror})") from None
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")


def _new_root(folder: str, disk: int) -> None:
    _mount(None, "/", None, RECURSIVE | PRIVATE)
    _mount("tmpfs", folder, "tmpfs", NO_SETUID | NO_DEVICES, "size=1m,mode=755")
    for source in _visible():
        _show(source, folder)
    _mount("tmpfs", _made(f"{folder}/tmp"), "tmpfs", NO_SETUID | NO_DEVICES, f"size={disk},nr_inodes=4096,mode=1777")
    old = _made(f"{folder}/old")
    os.chdir(folder)
    _call("syscall", PIVOT_ROOT[platform.machine()], folder.encode(), old.encode())
    os.chdir("/")
    _call("umount2", b"/old", DETACH)
    os.rmdir("/old")
    _mount(None, "/", None, REMOUNT | BIND | READ_ONLY | NO_SETUID | NO_DEVICES)
    os.chdir("/tmp")


def _visible() -> list[str]:
    """What a program may read: Python's library, without its installed packages' environment, and shared libraries."""
    wanted = [*LIBRARIES, *(path for path in sys.path if path and os.path.isdir(path)), *DEVICES]
    real = sorted({os.path.realpath(path) for path in wanted if os.path.exists(path)})
    kept: list[str] = []
    for path in real:
        if not any(path.startswith(f"{other}/") for other in kept):
            kept.append(path)
    links = [path for path in wanted if os.path.exists(path) and os.path.realpath(path) not in {path}]
    return kept + links


def _show(source: str, folder: str) -> None:
    """The file or folder at the same place below `folder`, read-only; a link is made again."""
    place = folder + source
    if os.path.lexists(place):
        return
    real = os.path.realpath(source)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if real != source:
        os.symlink(real, place)
        return
    if os.path.isdir(source):
        os.mkdir(place)
    else:
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o444))
    _mount(source, place, None, BIND | RECURSIVE)
    if source not in DEVICES:
        # What the outer mount forbids, a user namespace may not allow again.
        there = os.statvfs(place).f_flag
        kept = there & (NO_EXECUTION | NO_ACCESS_TIMES | NO_FOLDER_TIMES)
        kept |= RELATIVE_TIMES if there & os.ST_RELATIME else 0
        _mount(None, place, None, REMOUNT | BIND | READ_ONLY | NO_SETUID | NO_DEVICES | kept)


def _made(folder: str) -> str:
    os.mkdir(folder)
    return folder


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind)]
    try:
        _call("mount", *texts, ctypes.c_ulong(flags), None if data is None else data.encode())
    except OSError as why:
        raise CannotIsolate(f"{target} cannot be mounted ({why.strerror})") from None


def _call(name: str, *arguments: object) -> None:
    """A function of the C library that answers -1 for an error."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
