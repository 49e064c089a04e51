from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.data.cleaning.batch import Batch, Texts
from headwater.data.cleaning.blocklist import Blocklist
from headwater.data.cleaning.language import TONGUES, Language, languages
from headwater.data.cleaning.personal import PersonalData
from headwater.data.cleaning.stages import Alphanumeric, ControlCharacters, Digits, Formulas, Letters, SpecialCharacters

TEXTS = {
    "zh": [
        "本条例所称公共数据，是指国家机关在履行职责过程中收集、产生的数据。",
        "## 安装\n```python\nimport tensorflow as tf\nmodel = tf.keras.Sequential()\n```\n运行后会打印模型的结构和参数数量。",
        "床前明月光，疑是地上霜。",
        "臺北市政府資料開放平臺提供各機關的資料集",
    ],
    "en": ["This ordinance sets out how public data is opened to the city and its people.", "The cat sat on the mat, and that was it."],
    "other": [
        "このモデルは画像を分類するために使われます。詳しくはドキュメントを参照してください。",
        "이 모델은 이미지를 분류하는 데 사용됩니다. 자세한 내용은 문서를 참조하세요.",
        "El modelo se usa para clasificar las imágenes de la ciudad y los datos que se publican.",
        "Das Modell wird für die Klassifikation der Bilder und der Daten verwendet.",
        "Модель используется для классификации изображений.",
        "12345 67890 --- ***",
        "",
    ],
}


def batch(*texts: str) -> Batch:
    return Batch(fields=Texts.of(texts), width=1, places=np.arange(len(texts)))


@pytest.mark.parametrize(("tongue", "text"), [(tongue, text) for tongue, texts in TEXTS.items() for text in texts])
def test_the_language_of_a_text_is_told_by_its_script_and_small_words(tongue: str, text: str) -> None:
    found, _ = languages(batch(text))
    assert TONGUES[found[0]] == tongue


def test_a_text_of_another_language_goes_under_the_name_of_what_was_found() -> None:
    one = batch("这是中文的文档，内容是数据。", "This is a text in English, and it is kept by others.")
    Language(keep=("zh",)).apply(one)
    assert {place: why.code for place, why in one.removed.items()} == {1: "language.en"}


def test_terms_of_a_blocklist_match_whole_latin_words_and_chinese_anywhere() -> None:
    terms = Blocklist(terms=("casino", "赌博", "Free Money"))
    found = terms.figures(
        batch("CASINO night", "casinos", "网上赌博平台", "get free money now", "freemoney", "x赌 博", "a casino, a Casino")
    )
    assert found.tolist() == [1, 0, 1, 1, 0, 0, 2]


@given(st.lists(st.sampled_from(["赌", "博", "赌博", "a", " ", "ab"]), max_size=20).map("".join))
def test_a_chinese_term_is_found_as_often_as_counting_finds_it(text: str) -> None:
    assert Blocklist(terms=("赌博",)).figures(batch(text))[0] == text.count("赌博")


@given(st.text(max_size=60))
def test_shares_of_characters_are_what_python_says_of_each(text: str) -> None:
    one = batch(text)
    length = max(len(text), 1)
    plain = [character for character in text if ord(character) < 0x20000]
    rest = len(text) - len(plain)
    assert Letters().figures(one)[0] == pytest.approx((sum(map(str.isalpha, plain)) + rest) / length)
    assert Alphanumeric().figures(one)[0] == pytest.approx((sum(map(str.isalnum, plain)) + rest) / length)
    assert Digits().figures(one)[0] == pytest.approx(sum(map(str.isnumeric, plain)) / length)


def test_special_characters_are_punctuation_symbols_spaces_and_numbers() -> None:
    assert SpecialCharacters().figures(batch("数据 12，。😀", "数据"))[0] == pytest.approx(6 / 8)
    assert ControlCharacters().figures(batch("a\x00b\ud7ff"))[0] == pytest.approx(2 / 4)


@pytest.mark.parametrize(
    ("cell", "after"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|x", "'+cmd|x"),
        ("-3.5", "-3.5"),
        ("+86 138", "'+86 138"),
        ("@SUM", "'@SUM"),
        ("正文=x", "正文=x"),
        ("-1e-3%", "-1e-3%"),
    ],
)
def test_a_cell_that_a_spreadsheet_would_run_is_made_text(cell: str, after: str) -> None:
    one = batch(cell)
    Formulas().apply(one)
    assert one.texts.strings() == [after]


def test_personal_data_is_replaced_and_the_change_is_counted() -> None:
    one = batch("请致电 13800138000 或写信 a.b@example.com", "没有个人信息的文本")
    assert PersonalData().apply(one) == 1
    assert one.texts.strings() == ["请致电 [PHONE] 或写信 [EMAIL]", "没有个人信息的文本"]
