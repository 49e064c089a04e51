"""Reads shared tables with the Delta Sharing client, unmodified: whole, pruned, limited, of old versions, and what is refused."""

import json
import sys
import time

import delta_sharing
import requests
from delta_sharing.protocol import DeltaSharingProfile, Table
from delta_sharing.reader import DeltaSharingReader
from delta_sharing.rest_client import DataSharingRestClient

address, profile, stranger, expired, wait_s = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], float(sys.argv[5])
found = {}
client = delta_sharing.SharingClient(profile)
rest = DataSharingRestClient(DeltaSharingProfile.read_from_file(profile), num_retries=0)


def at(table, share="open", schema="transport"):
    return f"{profile}#{share}.{schema}.{table}"


def reader(**hints):
    return DeltaSharingReader(table=Table(name="road-speed", share="open", schema="transport"), rest_client=rest, **hints)


def refused(call):
    try:
        call()
    except requests.HTTPError as error:
        return [error.response.status_code, error.response.json().get("errorCode")]
    except Exception as error:  # noqa: BLE001 - whatever the client raises is the finding
        return [type(error).__name__, str(error)[:200]]
    return "nothing"


def files(**hints):
    given = rest.list_files_in_table(Table(name="road-speed", share="open", schema="transport"), **hints).add_files
    return [json.loads(one.stats)["minValues"]["n"] for one in given]


def condition(op, column, value, kind):
    return {
        "op": op,
        "children": [{"op": "column", "name": column, "valueType": kind}, {"op": "literal", "value": value, "valueType": kind}],
    }


found["shares"] = [one.name for one in client.list_shares()]
found["schemas"] = sorted(one.name for one in client.list_schemas(client.list_shares()[0]))
found["tables"] = sorted(f"{one.schema}.{one.name}" for one in client.list_all_tables())
paged, token = [], None
while True:
    page = rest.list_all_tables(client.list_shares()[0], max_results=7, page_token=token)
    paged.append([f"{one.schema}.{one.name}" for one in page.tables])
    token = page.next_page_token
    if not token:
        break
found["pages"] = [len(one) for one in paged]
found["paged"] = sorted(name for one in paged for name in one)
whole = delta_sharing.load_as_pandas(at("road-speed"))
found["rows"], found["sum"], found["columns"] = len(whole), int(whole["n"].sum()), list(whole.columns)
found["first_day"] = str(whole["day"].iloc[0])[:10]
found["limited"] = len(delta_sharing.load_as_pandas(at("road-speed"), limit=130))
found["none"] = len(delta_sharing.load_as_pandas(at("road-speed"), limit=0))
found["new"] = len(delta_sharing.load_as_pandas(at("bus-stops")))
found["old"] = len(delta_sharing.load_as_pandas(at("bus-stops"), version=1))
found["versions"] = [
    delta_sharing.get_table_version(at("bus-stops")),
    delta_sharing.get_table_version(at("bus-stops"), starting_timestamp="2020-01-01T00:00:00Z"),
]
found["metadata"] = json.loads(delta_sharing.get_table_metadata(at("bus-stops")).schema_string)["fields"]
found["protocol"] = delta_sharing.get_table_protocol(at("bus-stops")).min_reader_version
found["as_delta"] = len(delta_sharing.load_as_pandas(at("road-speed"), use_delta_format=True))
found["files"] = {
    "all": files(),
    "limit": files(limitHint=150),
    "sql": files(predicateHints=["n >= 200", "name IS NOT NULL"]),
    "sql_or": files(predicateHints=["n < 5 OR n > 250"]),
    "sql_day": files(predicateHints=["day = '2026-02-15'"]),
    "sql_unknown": files(predicateHints=["upper(name) LIKE 'x%'"]),
    "json": files(jsonPredicateHints=json.dumps(condition("lessThan", "n", "150", "int"))),
    "json_not": files(jsonPredicateHints=json.dumps({"op": "not", "children": [condition("lessThan", "n", "200", "long")]})),
    "json_below": files(jsonPredicateHints=json.dumps(condition("lessThan", "speed", "50.0", "double"))),
    "json_above": files(jsonPredicateHints=json.dumps(condition("greaterThan", "speed", "100.0", "double"))),
    "json_day": files(jsonPredicateHints=json.dumps(condition("equal", "day", "2026-03-15", "date"))),
}
found["pruned_rows"] = len(reader(jsonPredicateHints=json.dumps(condition("greaterThanOrEqual", "n", "200", "long"))).to_pandas())
nobody = DataSharingRestClient(DeltaSharingProfile(1, f"{address}/delta", stranger), num_retries=0)
late = DataSharingRestClient(DeltaSharingProfile(1, f"{address}/delta", expired), num_retries=0)
caller = DataSharingRestClient(DeltaSharingProfile(1, f"{address}/delta", sys.argv[6]), num_retries=0)
there = Table(name="road-speed", share="open", schema="transport")
found["refused"] = {
    "token": refused(nobody.list_shares),
    "expired": refused(late.list_shares),
    "role": refused(caller.list_shares),
    "share": refused(lambda: rest.list_all_tables(delta_sharing.Share("none"))),
    "schema": refused(lambda: rest.list_tables(delta_sharing.Schema("none", "open"))),
    "table": refused(lambda: rest.list_files_in_table(Table("none", "open", "transport"))),
    "granted_only": refused(lambda: rest.list_files_in_table(Table("firm-credit", "open", "finance"))),
    "version": refused(lambda: rest.list_files_in_table(there, version=99)),
    "both": refused(lambda: rest.list_files_in_table(there, version=1, timestamp="2030-01-01T00:00:00Z")),
    "early": refused(lambda: rest.list_files_in_table(there, timestamp="2001-01-01T00:00:00Z")),
    "time": refused(lambda: rest.list_files_in_table(there, timestamp="yesterday")),
    "predicate": refused(lambda: rest.list_files_in_table(there, jsonPredicateHints="{")),
    "page": refused(lambda: rest.list_shares(page_token="forged")),
    "results": refused(lambda: rest.list_shares(max_results=-1)),
}
granted = DataSharingRestClient(DeltaSharingProfile(1, f"{address}/delta", sys.argv[7]), num_retries=0)
mine = [f"{share.name}.{one.schema}.{one.name}" for share in granted.list_shares().shares for one in granted.list_all_tables(share).tables]
found["granted"] = sorted(one for one in mine if not one.startswith("open."))
firms = Table("firm-credit", "credit_assessment@CN-BJ", "finance")
found["granted_files"] = [len(granted.list_files_in_table(firms).add_files) for _ in range(3)]
found["spent"] = refused(lambda: granted.list_files_in_table(firms))
link = rest.list_files_in_table(there).add_files[0]
found["link"] = requests.get(link.url).status_code
found["range"] = requests.get(link.url, headers={"range": "bytes=0-3"}).content.decode("latin-1")
found["head"] = int(requests.head(link.url).headers["content-length"]) == link.size
found["tampered"] = requests.get(link.url.replace("part-0", "part-0")[:-30] + "AAAA" + link.url[-26:]).status_code
time.sleep(max(0.0, wait_s))
found["link_later"] = requests.get(link.url).status_code
print(json.dumps(found, ensure_ascii=False, default=str))
