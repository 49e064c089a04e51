"""Reads data sets with Hugging Face's own client, unmodified: by repository name over HF_ENDPOINT, and by plain addresses."""

import json
import sys
import tempfile

from datasets import get_dataset_config_names, load_dataset
from huggingface_hub import HfApi, hf_hub_download

address = sys.argv[1]
found = {}


def raised(call):
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever the client raises is the finding
        return type(error).__name__
    return "nothing"


api = HfApi()
with tempfile.TemporaryDirectory() as cache:
    roads = load_dataset("city_haidian/road-speed", cache_dir=cache)
    found["splits"] = {name: part.num_rows for name, part in roads.items()}
    found["sum"] = sum(roads["train"]["n"])
    stops = load_dataset("city/bus-stops", revision="v1", split="train", cache_dir=cache)
    found["rows_v1"] = stops.num_rows
    found["names"] = load_dataset("city/bus-stops", split="train", cache_dir=cache).to_dict()["站名"]
    streamed = load_dataset("city_haidian/road-speed", split="train", streaming=True)
    found["streamed"] = [row["n"] for row in streamed.take(3)]
    found["configs"] = get_dataset_config_names("city_haidian/road-speed")
    plain = [f"{address}/dataset/road-speed/versions/1/files/part-{part}.parquet" for part in range(3)]
    found["by_address"] = load_dataset("parquet", data_files=plain, split="train", cache_dir=cache).num_rows
    by_address = load_dataset("parquet", data_files=plain, split="train", streaming=True)
    found["by_address_streamed"] = [row["n"] for row in by_address.skip(150).take(2)]
    with open(hf_hub_download("city/bus-stops", "stops.csv", repo_type="dataset", cache_dir=cache), encoding="utf-8") as file:
        found["first_line"] = file.readline().strip()
    files = [one.path for one in api.list_repo_tree("city/bus-stops", repo_type="dataset", recursive=True)]
    found["files"] = sorted(files)
    found["sha"] = api.dataset_info("city/bus-stops").sha
    found["exists"] = api.file_exists("city/bus-stops", "stops.csv", repo_type="dataset")
    found["errors"] = {
        "repository": raised(lambda: api.dataset_info("city/nothing")),
        "organisation": raised(lambda: api.dataset_info("nobody/bus-stops")),
        "revision": raised(lambda: api.dataset_info("city/bus-stops", revision="v99")),
        "file": raised(lambda: hf_hub_download("city/bus-stops", "none.csv", repo_type="dataset", cache_dir=cache)),
        "gated": raised(lambda: hf_hub_download("city/firm-credit", "firms.csv", repo_type="dataset", cache_dir=cache)),
    }
print(json.dumps(found, ensure_ascii=False))
