"""Noisy answers: their budget is spent first, for good, by nobody twice over; and they are close to the truth."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from headwater.core import ledger, platform, settings
from headwater.core.errors import BadInput, Conflict, Refused
from headwater.core.platform import Platform
from headwater.data.privacy.protected import asking, budget, holding
from headwater.data.privacy.protected.budget import BudgetSpent
from headwater.data.privacy.protected.holding import WHOLE
from headwater.data.privacy.protected.questions import PrivateQuestion
from tests.flow.data.privacy.people_table import LAB, ROWS, asker, frame, protect


def question(**more: object) -> PrivateQuestion:
    return PrivateQuestion.model_validate({"kind": "count", "epsilon": 0.1} | more)


def left(site: Platform, grantee: str = LAB) -> float:
    with site.db.read() as connection:
        return budget.of(connection, "people", grantee).left


def test_each_kind_of_question_is_answered_near_the_truth_and_charged_no_more_than_asked(any_site: Platform) -> None:
    protect(any_site, epsilon=500)
    actor = asker(any_site, epsilon=100)
    truth = frame()
    count = asking.ask_private(any_site, actor, "people", question(epsilon=10))
    total = asking.ask_private(any_site, actor, "people", question(kind="sum", column="income", epsilon=10))
    mean = asking.ask_private(any_site, actor, "people", question(kind="mean", column="age", epsilon=10))
    bars = asking.ask_private(any_site, actor, "people", question(kind="histogram", column="sex", epsilon=10))
    binned = asking.ask_private(any_site, actor, "people", question(kind="histogram", column="age", bins=4, epsilon=10))
    median = asking.ask_private(any_site, actor, "people", question(kind="quantile", column="age", share=0.5, epsilon=10))
    old = asking.ask_private(any_site, actor, "people", question(where=[{"column": "age", "is": "at_least", "value": 60}], epsilon=10))
    assert abs(count.answer["value"] - ROWS) < 5
    assert abs(total.answer["value"] - truth["income"].sum()) < 3000
    assert abs(mean.answer["value"] - truth["age"].mean()) < 2
    assert abs(bars.answer["counts"]["F"] - 200) < 5
    assert abs(sum(binned.answer["counts"].values()) - ROWS) < 20
    assert abs(median.answer["value"] - truth["age"].median()) < 4
    assert abs(old.answer["value"] - (truth["age"] >= 60).sum()) < 5
    assert all(0 < one.epsilon <= 10.000001 for one in (count, total, mean, bars, binned, median))
    assert left(any_site) == pytest.approx(30, abs=0.001)
    assert left(any_site, WHOLE) == pytest.approx(430, abs=0.001)


def test_the_noise_of_a_count_has_the_scale_that_its_epsilon_asks_for(site: Platform) -> None:
    table = protect(site)
    rows = holding.read(site.store, table.declared)
    from headwater.data.privacy.protected import mechanisms

    release = mechanisms.prepare(question(epsilon=0.5), table).release
    noise = [release(rows)["value"] - ROWS for _ in range(600)]
    assert abs(statistics.mean(noise)) < 0.8
    assert 1.6 < statistics.mean(abs(one) for one in noise) < 2.5  # Laplace of scale 2: the mean distance is 2


def test_a_person_with_several_rows_is_hidden_by_as_much_more_noise(site: Platform) -> None:
    from headwater.data.privacy.protected import mechanisms

    one, five = protect(site, "one"), protect(site, "five", rows_per_person=5)
    assert mechanisms.prepare(question(), one).epsilon == pytest.approx(0.1)
    rows = holding.read(site.store, one.declared)
    assert mechanisms.prepare(question(), five).release(rows)["within"] > 4 * mechanisms.prepare(question(), one).release(rows)["within"]


def test_the_same_question_gets_the_same_answer_and_costs_nothing_more(site: Platform) -> None:
    protect(site)
    actor = asker(site)
    first = asking.ask_private(site, actor, "people", question())
    assert asking.ask_private(site, actor, "people", question()) == first
    assert left(site) == 0.9


def test_a_spent_budget_refuses_and_the_refusal_is_recorded(any_site: Platform) -> None:
    protect(any_site)
    actor = asker(any_site, epsilon=0.15)
    asking.ask_private(any_site, actor, "people", question())
    with pytest.raises(BudgetSpent, match=r"city/lab has 0.05 of 0.15 left; the question costs 0.1"):
        asking.ask_private(any_site, actor, "people", question(kind="sum", column="age"))
    with any_site.db.read() as connection:
        entries = list(ledger.entries(connection, kind="privacy.private", subject="people"))
        states = [one.state for one in asking.listed(connection, "people")]
    assert [entry.body["state"] for entry in entries] == ["authorised", "refused"]
    assert sorted(states) == ["answered", "refused"]
    assert left(any_site) == 0.05


def test_the_whole_tables_limit_holds_though_each_grantee_has_enough(site: Platform) -> None:
    protect(site, epsilon=0.25)
    first, second = asker(site), asker(site, organisation="city/bureau")
    asking.ask_private(site, first, "people", question(epsilon=0.2))
    with pytest.raises(BudgetSpent, match="The table as a whole has 0.05 of 0.25 left"):
        asking.ask_private(site, second, "people", question(epsilon=0.2))
    assert left(site, "city/bureau") == 1.0
    assert left(site, WHOLE) == 0.05


def test_who_has_no_budget_is_refused(site: Platform) -> None:
    protect(site)
    with pytest.raises(Refused, match="has no budget"):
        asking.ask_private(site, asker(site, epsilon=0), "people", question())


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_a_budget_that_is_no_positive_number_is_refused(site: Platform, epsilon: float) -> None:
    protect(site)
    with pytest.raises(BadInput, match="cannot be spent"):
        budget.give(site, "people", LAB, epsilon=epsilon, most_questions=1, reason="none", actor=site.found())


def test_a_budget_cannot_be_set_below_what_is_spent(site: Platform) -> None:
    protect(site)
    asking.ask_private(site, asker(site), "people", question(epsilon=0.5))
    with pytest.raises(Conflict, match=r"has spent 0.5 already"):
        budget.give(site, "people", LAB, epsilon=0.4, most_questions=1, reason="less", actor=site.found())


def test_a_question_that_does_not_fit_costs_nothing(site: Platform) -> None:
    protect(site)
    actor = asker(site)
    for wrong in ({"kind": "sum", "column": "sex"}, {"kind": "sum", "column": "name"}, {"kind": "histogram", "column": "age"}):
        with pytest.raises(BadInput):
            asking.ask_private(site, actor, "people", question(**wrong))
    with pytest.raises(BadInput, match="does not take"):
        asking.ask_private(site, actor, "people", question(where=[{"column": "sex", "is": "at_least", "value": 3}]))
    assert left(site) == 1.0


SPENDER = """
import sys, threading
from headwater.core import identity, platform, settings
from headwater.data.privacy.protected import asking, budget, holding
with platform.opened(settings.load(data_folder=sys.argv[1], database_url=sys.argv[3])) as site:
    with site.db.read() as connection:
        actor = identity.load_actor(connection, sys.argv[2], now=site.clock.now())
        table = holding.get(connection, "people")
    spent = []
    def ask(number):
        try:
            new = asking.new_question(site, actor, table, "private", {"number": number, "process": sys.argv[4]})
            asking.authorise(site, new, table, actor, budget.micro(0.01))
            spent.append(number)
        except budget.BudgetSpent:
            pass
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(50)]
    for one in threads: one.start()
    for one in threads: one.join()
    print(len(spent))
"""


def test_fifty_threads_in_each_of_two_processes_cannot_overspend(any_site: Platform) -> None:
    protect(any_site)
    actor = asker(any_site, epsilon=0.37)
    url = "" if any_site.db.is_sqlite else any_site.db.url
    arguments = [str(any_site.settings.data_folder), actor.id, url]
    running = [subprocess.Popen([sys.executable, "-c", SPENDER, *arguments, str(n)], stdout=subprocess.PIPE, text=True) for n in range(2)]
    granted = sum(int(one.communicate(timeout=120)[0]) for one in running)
    assert granted == 37
    assert left(any_site) == 0.0


KILLED = """
import os, signal, sys
from headwater.core import identity, platform, settings
from headwater.data.privacy.protected import asking, budget, holding
with platform.opened(settings.load(data_folder=sys.argv[1])) as site:
    with site.db.read() as connection:
        actor = identity.load_actor(connection, sys.argv[2], now=site.clock.now())
        table = holding.get(connection, "people")
    asking.authorise(site, asking.new_question(site, actor, table, "private", {"kind": "count"}), table, actor, budget.micro(0.3))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_between_spending_and_answering_leaves_it_spent(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with platform.opened(settings.load(data_folder=folder)) as site:
        protect(site)
        actor = asker(site)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder), actor.id], check=False, env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    with platform.opened(settings.load(data_folder=folder)) as site:
        assert left(site) == 0.7
        assert left(site, WHOLE) == 9.7
        with site.db.read() as connection:
            assert [one.state for one in asking.listed(connection, "people")] == ["authorised"]
            ledger.verify(connection)


def test_the_ledger_holds_every_question_and_no_cell_of_the_table(site: Platform) -> None:
    protect(site)
    actor = asker(site)
    asking.ask_private(site, actor, "people", question(where=[{"column": "district", "is": "equal", "value": "north"}]))
    with site.db.read() as connection:
        told = [entry.body for entry in ledger.entries(connection, subject="people")]
    assert len(told) == 4  # registered, budget, authorised, answered
    assert all("value" not in json.dumps(body.get("answer", {})) and "rows" not in body for body in told)


def test_askers_at_once_in_one_process_get_as_many_answers_as_the_budget_has_room_for(site: Platform) -> None:
    protect(site)
    actor = asker(site, epsilon=0.5)
    done: list[str] = []

    def ask(number: int) -> None:
        try:
            done.append(
                asking.ask_private(site, actor, "people", question(where=[{"column": "age", "is": "below", "value": number}])).state
            )
        except BudgetSpent:
            pass

    threads = [threading.Thread(target=ask, args=(20 + number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert done == ["answered"] * 5
