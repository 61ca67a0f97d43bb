"""Files of data that come with the package: read by name, and compared with the digest that they were shipped with."""

import hashlib
from functools import cache
from importlib.resources import files

_DIGESTS = {
    "design/oracles/gb1.npz": "0769b85a890e2809d270baf8522b99cfd89f97b30af05529044e5aafb6576e8a",
    "design/oracles/jaspar/MA0036.4.jaspar": "bc1d655ec12927c130e4be6381ea931963ad14ddfe82c35c07e0e0fe4c29c3f9",
    "design/oracles/jaspar/MA0062.4.jaspar": "7f3b07decfbfa8d9c745dc80f612203cde2ab016d72ab94c4d5431d3a1069d6f",
    "design/oracles/jaspar/MA0099.4.jaspar": "4ea4910130fbab38e3c510e583858ea2de1ce54ec79ff474d8ec45e58f994f6e",
    "design/oracles/jaspar/MA0106.3.jaspar": "5a432dd9ef6acb16d1c7749d1900ec27417ab14a64b50987058010183fd7d84b",
    "design/oracles/jaspar/MA0108.3.jaspar": "3c949e7717552d6e2ce3905dcc3d4e4eb95e8379f5207410ce954c08e41d58d0",
    "design/oracles/jaspar/MA0139.2.jaspar": "84896bd9592983f9083461e674a05e9e488917ef78f2baff00960bd7cd9472f9",
    "design/oracles/jaspar/MA0488.2.jaspar": "8ee915f47017bcebf7a91bba9bb80d2ac388f399fde8987d07643feede7c70b9",
    "design/oracles/tfbind8.npz": "b6dc45544822981855a03859c7d08d06a575c74fbe160486c4560b5e424326b0",
    "text/verse/early_modern.txt": "df224435da0cdc7b53b82bf2eb1b3936ffb394e466a9ac11ced861a53d1e790f",
    "text/verse/pronunciations.txt.xz": "9876745353f7ff1c7e761062b658f31464fd7489ef6e7bf08b82bc2343fb8634",
    "text/verse/sonnets.txt.xz": "d3604c9003fad9b4c41db8d52a9fdcd21a235b43c36093efcfd295d41e20cd01",
}


class InstallationError(ValueError):
    """A file of the package is damaged or missing. The message names it and says what to do."""


@cache
def shipped_bytes(name: str) -> bytes:
    """The content of a file of the package.

    Args:
        name: from the package's folder on: "design/oracles/gb1.npz".

    Raises:
        InstallationError: the file is not there, or is not what was shipped.

    Example:
        >>> shipped_bytes("design/oracles/jaspar/MA0036.4.jaspar")[:9]
        b'>MA0036.4'
    """
    again = "install discrete_lightning again (pip install --force-reinstall discrete_lightning)"
    try:
        content = files("discrete_lightning").joinpath(name).read_bytes()
    except OSError as error:
        raise InstallationError(
            f"discrete_lightning/{name} cannot be read ({error.strerror or error}): {again}"
        ) from None
    if hashlib.sha256(content).hexdigest() != _DIGESTS[name]:
        raise InstallationError(f"discrete_lightning/{name} is damaged ({len(content):,} bytes): {again}")
    return content
