"""The matrix of chips on the console and in the API: made of records; a vendor without any claims nothing."""

from __future__ import annotations

from datetime import timedelta

from fastapi.testclient import TestClient

from headwater.core import evidence
from headwater.core.platform import Platform
from headwater.framework.chips import matrix
from headwater.framework.chips.record import RecordRow


def kept(site: Platform, **changes: object) -> str:
    """Keep a record of a device with one case that works and two that do not, and return its statement."""
    cases = [("matmul", "bf16", "works"), ("matmul", "fp64", "refused"), ("sort", "bf16", "differs")]
    told = {
        "schema": "headwater.calibration/1",
        "made_at": site.clock.now() - timedelta(hours=1),
        "device": {"vendor": "huawei", "chip": "huawei/ascend910b3", "name": "Ascend910B3", "torch_device": "npu:0"},
        "software": {"headwater": "0", "torch": "2.9", "python": "3.11", "system": "Linux", "collective": "hccl"},
        "outcomes": [{"kind": "operator", "name": name, "dtype": dtype, "verdict": verdict} for name, dtype, verdict in cases],
        "figures": [
            {
                "name": "matmul",
                "dtype": "bf16",
                "size": 4096,
                "unit": "TFLOP/s",
                "value": 300.0,
                "least": 290.0,
                "most": 310.0,
                "repeats": 9,
            }
        ],
        "all_reduce_gb_s": {"1024": 0.5},
    }
    return matrix.keep(site, RecordRow.model_validate(told | changes), actor=site.found())


def test_only_what_was_recorded_is_in_the_matrix(site: Platform, browser: TestClient) -> None:
    assert "Ascend910B3" not in browser.get("/chips").text
    digest = kept(site)
    for lang, words in (("en", "No record."), ("zh", "尚无记录")):
        page = browser.get(f"/chips?lang={lang}").text
        assert "Ascend910B3" in page
        assert "1/2" in page
        assert words in page
    detail = browser.get(f"/chips/{digest}?lang=en").text
    assert "300" in detail
    assert "refused" in detail
    assert "ms-swift issue 7871" in detail  # what sources say of the vendor's chips stands apart from what was shown


def test_a_revoked_record_says_so(site: Platform, browser: TestClient, admin: TestClient) -> None:
    digest, now = kept(site), site.clock.now()
    site.db.write(lambda connection: evidence.revoke(connection, site.keyring, digest, reason="a wrong clock", actor="x", now=now))
    assert "revoked" in browser.get("/chips?lang=en").text
    (told,) = admin.get("/api/chips/records").json()
    assert not told["valid"]
    assert "a wrong clock" in told["why"]


def test_a_statement_that_is_no_record_is_not_found(browser: TestClient) -> None:
    assert browser.get("/chips/sha256:" + "0" * 64).status_code == 404
