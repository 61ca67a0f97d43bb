"""What comes from the environment stays there: where a run would write it down, the name of the variable is written instead.

Hidden are the values of variables that are called like a secret (WANDB_API_KEY, HF_TOKEN, DB_PASSWORD), and of those that a
config takes by `${oc.env:NAME}`, whatever they are called. In config.yaml, in the hyper-parameters of checkpoints and loggers
and in error messages stands `${oc.env:NAME}`, so that the config of a run can be used again.
"""

import os
import re
from argparse import Namespace
from collections.abc import Iterable, Mapping
from typing import Any

_LIKE_A_SECRET = re.compile(
    r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|AUTH)(_|$)", re.IGNORECASE
)
_TAKEN = re.compile(r"\$\{\s*oc\.env\s*:\s*([A-Za-z_]\w*)")
_SHORTEST = 8  # letters; a shorter value, such as "cpu" or "3", is no key, and stands in texts that mean something else


def secrets(texts: Iterable[str] = ()) -> dict[str, str]:
    """Value -> name of the variables to hide; the longest value first.

    Args:
        texts: of configs and options.

    Example:
        >>> os.environ["MY_TOKEN"] = "a token of mine"
        >>> secrets()["a token of mine"]
        'MY_TOKEN'
        >>> hidden({"url": ["https://a token of mine@host"]}, secrets())
        {'url': ['https://${oc.env:MY_TOKEN}@host']}
        >>> del os.environ["MY_TOKEN"]
    """
    taken = {name for text in texts for name in _TAKEN.findall(text)}
    names = [name for name in os.environ if name in taken or _LIKE_A_SECRET.search(name)]
    values = {os.environ[name]: name for name in names if len(os.environ[name]) >= _SHORTEST}
    return dict(sorted(values.items(), key=lambda each: -len(each[0])))


def secrets_of(request: Namespace) -> dict[str, str]:
    """Those of the configs and options of a command; see `entry.read_command`."""
    return secrets([*request.args, *getattr(request, "texts", [])])


def hidden(value: Any, known: Mapping[str, str]) -> Any:
    """`value` with the names of variables in the place of their values: the same object, if there are none in it.

    Args:
        value: a text, or a mapping, list or tuple of such things; others stay.
        known: see `secrets`.
    """
    if isinstance(value, str):
        for secret, name in known.items():
            value = value.replace(secret, f"${{oc.env:{name}}}")
        return value
    if isinstance(value, Namespace):
        changed = {key: hidden(each, known) for key, each in vars(value).items()}
        if _same(changed, vars(value)):
            return value
        new = type(value)()
        vars(new).update(changed)
        return new
    if isinstance(value, dict):
        changed = {hidden(key, known): hidden(each, known) for key, each in value.items()}
        return value if _same(changed, value) else changed
    if type(value) in (list, tuple):
        items = [hidden(each, known) for each in value]
        return value if all(a is b for a, b in zip(items, value, strict=True)) else type(value)(items)
    return value


def _same(a: Mapping[Any, Any], b: Mapping[Any, Any]) -> bool:
    return list(a) == list(b) and all(a[key] is b[key] for key in a)
