"""Certificates by which the processes of one cluster know each other."""

import os
from pathlib import Path

from distributed.security import Security

from lensweep.deploy.config import ClusterError

# One self-signed certificate is its own authority: who holds the key belongs to the cluster.
CERTIFICATE, KEY = "cert.pem", "key.pem"


def make_certificates(folder: Path) -> Security:
    """Make a certificate and its key, valid for a year, in files that only their owner may read.

    Parameters
    ----------
    folder : Path
        Made if it is not there; files of an earlier run are replaced.

    Returns
    -------
    distributed.security.Security
        Naming the files; never their content.
    """
    made = Security.temporary()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in ((CERTIFICATE, made.tls_worker_cert), (KEY, made.tls_worker_key)):
        (folder / name).unlink(missing_ok=True)
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
    return read_certificates(folder)


def read_certificates(folder: Path) -> Security:
    """The certificate and key in a folder.

    Raises
    ------
    ClusterError
        If a file is missing, or others may read the key.
    """
    for name in (CERTIFICATE, KEY):
        if not (folder / name).is_file():
            raise ClusterError(
                f"certificates {folder}: no {name}; make them with `lensweep certificates {folder}`"
            )
    if (folder / KEY).stat().st_mode & 0o077:
        raise ClusterError(
            f"certificates {folder}: others may read {KEY}; `chmod 600 {folder / KEY}`"
        )
    certificate, key = str(folder / CERTIFICATE), str(folder / KEY)
    roles = ("client", "scheduler", "worker")
    return Security(
        require_encryption=True,
        tls_ca_file=certificate,
        **{f"tls_{role}_cert": certificate for role in roles},
        **{f"tls_{role}_key": key for role in roles},
    )


def command_options(folder: Path) -> str:
    """What `dask scheduler` and `dask worker` take to use the certificate in a folder."""
    certificate, key = folder.absolute() / CERTIFICATE, folder.absolute() / KEY
    return f"--protocol tls --tls-ca-file {certificate} --tls-cert {certificate} --tls-key {key}"
