import yaml

from tests.cli.outcome import Cli


def test_noise_is_an_option_of_configs(toy: Cli) -> None:
    assert toy("fit", "--noise=keyed", "--run_dir", "run").code == 0
    with open("run/config.yaml") as file:
        assert yaml.safe_load(file)["noise"] == "keyed"
    outcome = toy("fit", "--noise=philox")
    assert outcome.code != 0
    assert "noise" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
