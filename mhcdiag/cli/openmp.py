"""How the threads of OpenMP, which torch starts, wait for each other."""

import os

POLICY = "OMP_WAIT_POLICY"
_given = os.environ.get(POLICY)


def wait_asleep() -> None:
    """Let waiting threads sleep, unless the user chose otherwise; without effect once torch is loaded.

    By default they spin. Beside other programs a spinning thread holds the core that the one it waits for needs: on a
    busy machine that took up to twenty times as long.
    """
    os.environ.setdefault(POLICY, "PASSIVE")


def environment_of_others() -> dict[str, str]:
    """The environment for programs that are not ours: as this process was given it."""
    environment = dict(os.environ)
    if _given is None:
        environment.pop(POLICY, None)
    return environment
