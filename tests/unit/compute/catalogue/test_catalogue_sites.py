"""The sites file: the worked example, and how a bad file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.compute.catalogue.chips import chips
from headwater.compute.catalogue.figures import Figure, Unknown
from headwater.compute.catalogue.sites import CAPITAL, sites
from headwater.compute.catalogue.sites_file import json_schema
from headwater.core.errors import BadInput, NotFound

GOOD = """
schema = "headwater.sites/1"
name = "two"
note = "n"
[[site]]
id = "a"
name = "A"
owner = "o"
region = "r"
engine = "slurm"
residency = ["cn"]
[[site.pool]]
name = "p"
chip = "nvidia/t4/pcie"
nodes = 2
chips_per_node = 4
cpus_per_node = 32
memory_gib_per_node = 128
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "sites.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(BadInput) as refused:
        sites(written(folder, text))
    return str(refused.value)


def test_the_example_has_two_centres_in_beijing_a_cloud_and_four_neighbours():
    example = sites()
    assert [site.region for site in example if site.engine != "cloud"].count("beijing") == 2
    assert [site.engine for site in example].count("cloud") == 1
    assert {site.region for site in example} == {"beijing", "tianjin", "hebei", "shanxi", "inner-mongolia"}


def test_location_and_market_carbon_are_kept_apart():
    hebei = sites()["hebei-zhangbei"]
    assert isinstance(hebei.location_kgco2_per_kwh, Figure)
    assert isinstance(hebei.market_kgco2_per_kwh, Figure)
    assert hebei.location_kgco2_per_kwh.value > hebei.market_kgco2_per_kwh.value


def test_the_neighbours_grids_are_dirtier_than_the_national_average():
    """0.5366 kg a kWh in 2022: sending work west is green only under a contract."""
    for name in ("tianjin-wuqing", "hebei-zhangbei", "shanxi-datong", "inner-mongolia-horinger"):
        factor = sites()[name].location_kgco2_per_kwh
        assert isinstance(factor, Figure)
        assert factor.value > 0.5366


def test_what_the_file_does_not_say_is_unknown():
    assert isinstance(sites()["cloud-north"].market_kgco2_per_kwh, Unknown)


def test_every_synthetic_figure_of_the_example_is_marked_assumed():
    figures = [band.fen_per_kwh for site in sites() for band in site.tariff]
    figures += [figure for link in sites().links for figure in (link.bandwidth_gbit_s, link.round_trip_ms) if isinstance(figure, Figure)]
    assert {figure.confidence for figure in figures} == {"assumed"}


@given(st.sampled_from([site.id for site in sites()]), st.integers(0, 1439))
def test_every_minute_of_the_day_has_one_price(site_id, minute):
    site = sites()[site_id]
    assert isinstance(site.fen_per_kwh(minute), Figure)
    assert sum(band.from_minute <= minute < band.to_minute for band in site.tariff) == 1


def test_a_link_is_found_either_way_round():
    example = sites()
    assert example.link("shanxi-datong", "beijing-haidian") is example.link("beijing-haidian", "shanxi-datong")
    assert example.link("cloud-north", "shanxi-datong") is None
    with pytest.raises(NotFound, match="Known: beijing-haidian"):
        example.link("cloud-north", "mars")


def test_every_pool_names_a_chip_of_the_catalogue():
    known = chips()
    assert all(pool.chip.id in known for site in sites() for pool in site.pools)
    assert CAPITAL.is_file()


def test_a_site_without_tariff_has_an_unknown_price(tmp_path):
    site = sites(written(tmp_path, GOOD))["a"]
    assert isinstance(site.fen_per_kwh(0), Unknown)
    assert site.chip_count == 8


def test_all_problems_come_at_once_with_their_places(tmp_path):
    bad = GOOD.replace("nodes = 2", "nodes = 0").replace('engine = "slurm"', 'engine = "lsf"')
    bad += "power_usage = 1\n"
    bad += '[[site.tariff]]\nfrom = "22:00"\nto = "06:00"\nfen_per_kwh = { value = 30, source = "s", confidence = "assumed" }\n'
    bad += '[[link]]\nbetween = ["a"]\n'
    text = refusal(tmp_path, bad)
    places = ["site[0] 'a' engine", "site[0] 'a' pool[0] 'p' nodes", "pool[0] 'p' power_usage", "site[0] 'a' tariff[0]", "link[0] between"]
    assert [place for place in places if place not in text] == []
    assert "over midnight as two" in text


def test_unknown_chips_and_link_ends_are_named_together(tmp_path):
    bad = GOOD.replace("nvidia/t4/pcie", "nvidia/t4") + '[[link]]\nbetween = ["a", "z"]\n[[link]]\nbetween = ["a", "a"]\n'
    text = refusal(tmp_path, bad)
    assert "3 problems" in text
    assert "Did you mean nvidia/t4/pcie" in text
    assert "no site 'z'" in text
    assert "Both ends are the same site" in text


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('power_usage_effectiveness = { value = 0.9, source = "s", confidence = "claimed" }', "greater than or equal to 1"),
        ('location_kgco2_per_kwh = { value = 680, source = "s", confidence = "claimed" }', "less than or equal to 2"),
        ('egress_fen_per_gib = { value = -1, source = "s", confidence = "claimed" }', "greater than or equal to 0"),
        ('egress_fen_per_gib = { value = nan, source = "s", confidence = "claimed" }', "value"),
        ("residency = []", "residency"),
    ],
)
def test_impossible_figures_are_refused(tmp_path, line, says):
    text = GOOD.replace('residency = ["cn"]', line if line.startswith("residency") else f'residency = ["cn"]\n{line}')
    assert says in refusal(tmp_path, text)


def test_a_tariff_with_a_gap_or_an_overlap_is_refused(tmp_path):
    band = '[[site.tariff]]\nfrom = "{}"\nto = "{}"\nfen_per_kwh = {{ value = 1, source = "s", confidence = "assumed" }}\n'
    gap = GOOD + band.format("00:00", "08:00") + band.format("09:00", "24:00")
    overlap = GOOD + band.format("00:00", "08:00") + band.format("07:00", "24:00")
    assert "without gap or overlap" in refusal(tmp_path, gap)
    assert "without gap or overlap" in refusal(tmp_path, overlap)


def test_maintenance_needs_a_zone_and_runs_forward_and_does_not_overlap(tmp_path):
    window = '[[site.maintenance]]\nsince = {}\nuntil = {}\nreason = "r"\n'
    assert "since" in refusal(tmp_path, GOOD + window.format("2026-01-01T00:00:00", "2026-01-02T00:00:00Z"))
    assert "not after it starts" in refusal(tmp_path, GOOD + window.format("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"))
    two = window.format("2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z") + window.format("2026-01-02T00:00:00Z", "2026-01-04T00:00:00Z")
    assert "Two windows overlap" in refusal(tmp_path, GOOD + two)


def test_two_sites_of_one_id_are_refused(tmp_path):
    twice = GOOD + GOOD[GOOD.index("[[site]]") :]
    assert "used 2 times" in refusal(tmp_path, twice)


def test_the_schema_of_the_file_is_there_for_editors():
    schema = json_schema()
    assert set(schema["required"]) == {"schema", "name", "note", "site"}
    assert "pool" in schema["$defs"]["SiteRow"]["required"]
