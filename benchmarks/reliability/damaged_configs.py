"""Configs that nobody means, for files.py: text, and words of the answer."""

_NEST = 4_000


def _laughs(levels: int = 24) -> str:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, levels)]
    return "\n".join(lines) + f"\nmodel: *a{levels - 1}\n"


def _many_keys(size: int) -> bytes:
    line = b"  callback_with_a_long_name_%07d: {a: 1, b: [1, 2, 3]}\n"
    return b"model:\n" + b"".join(line % i for i in range(size // len(line)))


CONFIGS: dict[str, bytes] = {
    "empty": b"",
    "blank": b"\n\n  \n",
    "comment alone": b"# a comment\n",
    "binary": bytes(range(256)) * 4,
    "zeros": bytes(1000),
    "UTF-16": "trainer: {max_epochs: 1}".encode("utf-16"),
    "Latin-1": "trainer: {max_epochs: 1} # für\n".encode("latin-1"),
    "control characters": b"trainer: {max_epochs: \x01\x07}\n",
    "tabs": b"trainer:\n\tmax_epochs: 5\n",
    "a list": b"- model\n- data\n",
    "a text": b"vq/quickstart\n",
    "a number": b"17\n",
    "two documents": b"trainer: {max_epochs: 1}\n---\ntrainer: {max_epochs: 2}\n",
    "open bracket": b"trainer: {max_epochs: 5\nmodel: x\n",
    "key twice": b"trainer: {max_epochs: 5}\ntrainer: {max_epochs: 6}\n",
    "key twice inside": b"trainer:\n  max_epochs: 5\n  max_epochs: 6\n",
    "key is a list": b"? [a, b]\n: 1\n",
    "key is a number": b"1: 2\n",
    "unknown key": b"modle: {hidden: 3}\n",
    "unknown class": b"model: {class_path: VQAutoencodr}\n",
    "class of another kind": b"model: {class_path: Digits}\n",
    "unknown alias": b"trainer: *nothing\n",
    "anchor of itself": b"model: &a {class_path: VQAutoencoder, init_args: {estimator: *a}}\n",
    "billion laughs": _laughs().encode(),
    "merge of a number": b"trainer: {<<: 5}\n",
    "python/object": b"model: !!python/object/apply:os.system ['touch executed']\n",
    "python/name": b"model: !!python/name:os.system\n",
    "python/module": b"x: !!python/module:this\n",
    "own tag": b"model: !mine {a: 1}\n",
    "cycle of interpolations": b"trainer: {max_epochs: '${trainer.max_steps}', max_steps: '${trainer.max_epochs}'}\n",
    "interpolation of itself": b"seed_everything: '${seed_everything}'\n",
    "interpolation of nothing": b"seed_everything: '${nothing.here}'\n",
    "unknown resolver": b"seed_everything: '${shell:id}'\n",
    "variable that is not set": b"seed_everything: '${oc.env:NOBODY_SETS_THIS}'\n",
    "broken interpolation": b"seed_everything: '${oc.env:'\n",
    "nested lists": b"model: " + b"[" * _NEST + b"]" * _NEST,
    "nested mappings": b"".join(b" " * i + b"a:\n" for i in range(1500)),
    "10 MB of brackets": b"[" * 10_000_000,
    "10 MB of keys": _many_keys(10_000_000),
    "one line of 10 MB": b"trainer: '" + b"x" * 10_000_000 + b"'\n",
    "enormous number": b"seed_everything: " + b"9" * 5000 + b"\n",
    "infinite number": b"trainer: {max_epochs: .inf}\n",
    "date": b"trainer: {max_epochs: 2001-01-01}\n",
    "group is null": b"trainer: null\n",
}  # fmt: skip
# part of another config: `model: part.yaml`
PARTS: dict[str, bytes] = {
    "empty part": b"",
    "part of laughs": _laughs().encode(),
    "binary part": bytes(range(256)) * 4,
    "python/object in a part": b"!!python/object/apply:os.system ['touch executed']\n",
    "10 MB of brackets in a part": b"[" * 10_000_000,
    "part names itself": b"PATH",
}
# what a config may hold, so that the run ends well
FINE: dict[str, bytes] = {
    "byte order mark": b"\xef\xbb\xbftrainer: {max_epochs: 1}\n",
    "line ends of Windows": b"trainer:\r\n  max_epochs: 1\r\n",
    "anchors": b"trainer: &a {max_epochs: 1}\nseed_everything: &b 3\n",
}
