"""A record is made by the command, signed, handed on, and shown in the matrix; a record that was changed is not."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.core import evidence, statement
from headwater.core.errors import BadInput, BadStatement, Conflict
from headwater.core.platform import Platform
from headwater.framework.chips import matrix
from headwater.framework.chips.record import RecordRow, load_key, new_key, read, signed
from headwater.framework.parallel.fleet import Fleet


def called(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run([sys.executable, "-m", "headwater", "chip", *arguments], capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the file of a record made here, of operators and collectives on the processor."""
    file = tmp_path_factory.mktemp("record") / "record.json"
    done = called("check", "--device", "cpu", "--seconds", "0.02", "--out", str(file))
    assert done.returncode == 0, done.stderr
    assert "46/46" in done.stdout
    return file


def test_a_record_that_the_platform_signs_is_a_row_of_the_matrix(site: Platform, made: Path) -> None:
    told = read(made.read_bytes(), "record.json")
    digest = matrix.keep(site, told, actor=site.found())
    with site.db.read() as connection:
        rows = matrix.rows(matrix.held(site, connection, site.clock.now()))
    first, *others = rows
    assert (first.adapter.vendor, [one.digest for one in first.entries]) == ("cpu", [digest])
    assert first.entries[0].cell("operator", "fp32").works == first.entries[0].cell("operator", "fp32").tried
    assert all(row.entries == [] for row in others)
    assert matrix.keep(site, told, actor=site.found()) == digest


def test_anothers_record_is_taken_in_once_its_key_is_trusted_and_never_after_a_change(site: Platform, made: Path, tmp_path: Path) -> None:
    key = new_key(tmp_path / "key.pem")
    envelope = signed(read(made.read_bytes(), "record.json"), load_key(tmp_path / "key.pem"))

    def keep(one: statement.Envelope) -> str:
        now = site.clock.now()
        return site.db.write(lambda connection: evidence.keep(connection, one, site.keyring, actor="somebody", now=now)).digest

    with pytest.raises(BadStatement, match="No trusted key"):
        keep(envelope)
    site.keyring.trust("a laboratory", key.public_key().public_bytes_raw(), (statement.CALIBRATION,))
    changed = statement.Envelope(payload=envelope.payload.replace(b'"works"', b'"WORKS"'), signatures=envelope.signatures)
    with pytest.raises(BadStatement, match="forged or altered"):
        keep(changed)
    digest = keep(envelope)
    with site.db.read() as connection:
        found = matrix.entry(site, connection, digest, site.clock.now())
    assert found is not None
    assert found.signed_by == ("a laboratory",)
    assert found.why == ""


def test_a_file_that_is_no_record_is_refused_with_what_is_wrong(made: Path) -> None:
    told = json.loads(made.read_text())
    told["outcomes"][0]["verdict"] = "perfect"
    told["extra"] = 1
    with pytest.raises(BadInput, match=r"(?s)outcomes\.0\.verdict.*extra|extra.*outcomes\.0\.verdict"):
        read(json.dumps(told), "record.json")
    with pytest.raises(BadInput, match="no calibration record"):
        read("[]", "record.json")


def test_a_record_from_the_future_is_refused(site: Platform, made: Path) -> None:
    told = json.loads(made.read_text()) | {"made_at": "2999-01-01T00:00:00Z"}
    with pytest.raises(BadInput, match="in the future"):
        matrix.keep(site, RecordRow.model_validate(told), actor=site.found())


def test_a_key_is_never_overwritten_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    done = called("key", str(tmp_path / "key.pem"), "--json")
    public = json.loads(done.stdout)["public_key"]
    assert base64.b64decode(public) == load_key(tmp_path / "key.pem").public_key().public_bytes_raw()
    assert (tmp_path / "key.pem").stat().st_mode & 0o077 == 0
    with pytest.raises(Conflict, match="never overwritten"):
        new_key(tmp_path / "key.pem")
    (tmp_path / "other.pem").write_text("no key")
    with pytest.raises(BadInput, match="No private key"):
        load_key(tmp_path / "other.pem")


def test_a_fleet_that_is_probed_has_what_this_machine_gave() -> None:
    fleet = Fleet.probe(seconds=0.02)
    assert fleet.chips >= 1
    chip = fleet.pools[0].chip
    assert min(chip.bf16_tflops, chip.tf32_tflops, chip.memory_gb_s, chip.memory_gib) > 0


def test_the_command_keeps_a_record_in_a_data_folder(made: Path, tmp_path: Path) -> None:
    done = called("keep", str(made), "--data", str(tmp_path / "data"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["statement"].startswith("sha256:")
