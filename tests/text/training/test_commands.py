"""fit, then generate: a language model from the terminal."""

from collections.abc import Callable
from pathlib import Path

import pytest

from discrete_lightning.text.training.base_network import read_network
from tests.cli.outcome import Cli

Run = Callable[..., Path]


def generated(cli: Cli, run: Path, *arguments: str) -> str:
    outcome = cli("generate", "-c", str(run), "--tokens", "12", *arguments)
    assert outcome.code == 0, outcome.err
    return outcome.out


def written(run: Path) -> list[str]:
    files = sorted(Path().rglob("generated*.txt"), key=lambda path: path.stat().st_mtime)
    return [file.read_text() for file in files]


def test_a_run_generates_the_same_text_for_a_seed(cli: Cli, run: Run) -> None:
    folder = run()
    samples = (folder / "samples.txt").read_text()
    assert "nats a character" in samples
    for arguments in (("--seed", "3"), ("--seed", "3"), ("--seed", "4")):
        out = generated(cli, folder, "--prompt", "the cat", *arguments)
        assert "the cat" in out
    first, again, other = written(folder)
    assert first == again != other
    assert first.startswith("the cat")
    generated(cli, folder, "--prompt", "the", "--temperature", "0")
    generated(cli, folder, "--prompt", "the", "--top_k", "1", "--seed", "9")
    assert written(folder)[-1] == written(folder)[-2]


def test_a_prompt_of_unknown_characters_is_refused(cli: Cli, run: Run) -> None:
    outcome = cli("generate", "-c", str(run()), "--prompt", "the Ωcat")
    assert outcome.code != 0
    assert "never seen 'Ω'" in outcome.error
    assert not list(Path().rglob("generated*.txt"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--tokens", "0"), "tokens"),
        (("--temperature", "-1"), "temperature"),
        (("--top_k", "0"), "top_k"),
        (("--prompt", ""), "prompt"),
    ],
)
def test_bad_options_are_one_line(options: tuple[str, ...], words: str, cli: Cli, run: Run) -> None:
    outcome = cli("generate", "-c", str(run()), *options)
    assert outcome.code != 0
    assert words in outcome.error


def test_another_vocabulary_than_the_checkpoint(cli: Cli, run: Run) -> None:
    folder = run()
    outcome = cli("test", "-c", str(folder), "--data.vocabulary", "260")
    assert outcome.code != 0
    assert "the data has another one of 260" in outcome.error


def test_a_network_smaller_than_the_vocabulary(cli: Cli) -> None:
    outcome = cli("fit", "-c", "tiny.yaml", "--model.network.vocabulary", "258")
    assert outcome.code != 0
    assert "and the network 258: set vocabulary" in outcome.error


def test_a_run_is_a_base_for_others(cli: Cli, run: Run) -> None:
    folder = run()
    network, tokenizer = read_network(str(folder))
    again, same = read_network(str(folder / "checkpoints" / "last.ckpt"))
    assert network.vocabulary == 300
    assert tokenizer == same
    assert tokenizer.decode(tokenizer.encode("the cat")) == "the cat"
    assert all(bool((a == b).all()) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    with pytest.raises(ValueError, match="base='nowhere'"):
        read_network("nowhere")
    Path("bad.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"bad\.ckpt"):
        read_network("bad.ckpt")
