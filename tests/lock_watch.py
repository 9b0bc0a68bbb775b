"""Scan in this process and print what was locked meanwhile; an audit hook stays for ever."""

import fcntl
import json
import sys
from pathlib import Path

LOCKING = ("fcntl.flock", "fcntl.lockf", "fcntl.fcntl")
LOCK_COMMANDS = (
    None, fcntl.F_SETLK, fcntl.F_SETLKW, fcntl.F_OFD_SETLK, fcntl.F_OFD_SETLKW, fcntl.F_SETLEASE,
)  # fmt: skip


def main(field, out, bundle):
    from conftest import scan_here
    from distributed import Client

    seen = []

    def watch(event, arguments):
        if event in LOCKING:
            command = arguments[1] if event == "fcntl.fcntl" else None
            if command in LOCK_COMMANDS:
                seen.append((event, str(Path(f"/proc/self/fd/{arguments[0]}").readlink())))

    sys.addaudithook(watch)
    with (Path(out).parent / "watched").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
    with Client(
        processes=False, n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as client:
        outcome = scan_here(client, bundle, [field], out)
    assert outcome.exit_status == 0
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
