"""The token store: built, killed, opened, damaged. Run: pytest tests/test_pretraining_store.py."""

from __future__ import annotations

import gzip
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers

from tiny import everything_in
from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.pretraining import BuildProgress, TokenStore, build_store, read_documents, split_sentences
from unmask.pretraining.building import _write_record as write_record
from unmask.pretraining.store import DOCUMENTS_FILE, PROGRESS_FILE, RECORD_FILE, SENTENCES_FILE, TOKENS_FILE
from unmask.tokenization import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

WORDS = [f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")]
WORDS += ["[", "]", "the", "dog", "cat", "sleep", "##s", ".", "!", "mask", "run"]
TEXT = "The dog sleeps. The cat runs!\nthe [MASK] .\n\nThe cat.\n\n\n\x00\n\nthe the the"
SMALL = 1_500  # bytes a shard


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    vocab = tmp_path_factory.mktemp("tokenizer") / "vocab.txt"
    vocab.write_text("\n".join(WORDS))
    return Tokenizer.from_vocab(vocab)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files, some 120 KB: documents of one paragraph to hundreds."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = random.Random(5)
    for number in range(3):
        documents = []
        for _ in range(29):
            paragraphs = [
                " ".join(rng.choice(["The dog sleeps.", "The cat runs!", "the [MASK].", "the dog"]) for _ in range(5))
                for _ in range(rng.choice([1, 2, 3, 67]))
            ]
            documents.append("\n".join(paragraphs))
        (folder / f"{number}.txt").write_text("\n\n".join(documents))
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, corpus: Path, tokenizer: Tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("stores") / "whole"
    build_store(folder, [corpus], tokenizer)
    return folder


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path / "copy")
    return tmp_path / "copy"


def byte_level(**settings: Any) -> Tokenizer:
    """A tokenizer with a token for every byte."""
    vocab = {character: index for index, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocab["<|endoftext|>"] = len(vocab)
    backend = Backend(models.BPE(vocab, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, **settings)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|endoftext|>"])
    return Tokenizer(backend)


def refuses(message: str, kind: type[Exception] = CheckpointError) -> pytest.RaisesExc[Any]:
    return pytest.raises(kind, match=re.escape(message))


# What is in it


def test_by_hand(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Special tokens written in the text are text; the document of one control character is none."""
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"text": text.replace("\x00", "\x07")}) for text in TEXT.split("\n\n")))
    store = build_store(tmp_path / "store", [path], tokenizer)
    ids = {word: index for index, word in enumerate(WORDS)}
    expected = [
        ["the dog sleep ##s .", "the cat run ##s !", "the [ mask ] ."],
        ["the cat ."],
        ["the the the"],
    ]
    sentences = [[ids[word] for word in sentence.split()] for document in expected for sentence in document]
    assert [store.sentence(index).tolist() for index in range(store.num_sentences)] == sentences
    assert store.sentence_starts.tolist() == [0, 5, 10, 15, 18, 21]
    assert store.document_starts.tolist() == [0, 3, 4, 5]
    assert (store.tokens.dtype, store.sentence_starts.dtype, store.document_starts.dtype) == (
        np.uint16,
        np.int64,
        np.int64,
    )
    assert (store.num_tokens, store.num_sentences, store.num_documents, store.info.num_words) == (21, 5, 3, 15)
    counts = Counter(token for sentence in sentences for token in sentence).values()
    assert store.info.unigram_entropy == pytest.approx(-sum(n / 21 * math.log(n / 21) for n in counts), abs=1e-12)
    with pytest.raises(ValueError, match="read-only"):
        store.tokens[0] = 1
    with pytest.raises(IndexError, match="sentence 5 of 5"):
        store.sentence(5)
    assert store.load_tokenizer().fingerprint == tokenizer.fingerprint
    store.verify()


@pytest.mark.parametrize("line_breaks", [False, True])
def test_byte_level_tokens_join_to_running_text(tmp_path: Path, line_breaks: bool) -> None:
    path = tmp_path / "a.txt"
    path.write_text("One.  Two <|endoftext|>!\nThree.\n\nFour.")
    tokenizer = byte_level()
    store = build_store(tmp_path / "store", [path], tokenizer, line_breaks=line_breaks)
    first, second = (
        tokenizer.decode(store.tokens[slice(*store.sentence_starts[store.document_starts[i : i + 2]])].tolist())
        for i in range(2)
    )
    assert first == ("One. Two <|endoftext|>!\nThree." if line_breaks else "One. Two <|endoftext|>! Three.")
    assert second == "Four."
    assert tokenizer.token_to_id("<|endoftext|>") not in store.tokens


def test_large_vocabularies_take_four_bytes(tmp_path: Path) -> None:
    backend = Backend(models.WordLevel({f"w{index}": index for index in range(70_001)}, unk_token="w0"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    (tmp_path / "a.txt").write_text("w70000 w3")
    store = build_store(tmp_path / "store", [tmp_path / "a.txt"], Tokenizer(backend))
    assert (store.tokens.dtype, store.tokens.tolist()) == (np.uint32, [70_000, 3])
    assert store.info.unigram_entropy == pytest.approx(math.log(2))


def test_documents_in_parts_are_one(tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first part has no token, so that the second begins the document."""
    monkeypatch.setattr("unmask.pretraining.corpora._LONGEST_PART", 2)
    path = tmp_path / "a.txt"
    path.write_text("\x07\x07\x07\x07\nthe\ndog\nthe cat\n\nthe\nthe the\n")
    assert [document.continues for document in read_documents([path])] == [False, True, True, True, False, True]
    for shard_size in (1, 10**6):
        store = build_store(tmp_path / f"store{shard_size}", [path], tokenizer, shard_size=shard_size)
        assert store.document_starts.tolist() == [0, 3, 5]


# The same bytes always


@pytest.mark.parametrize(("workers", "shard_size"), [(1, SMALL), (2, SMALL), (3, 10**6)])
def test_workers_and_shards_change_nothing(
    built: Path, corpus: Path, tokenizer: Tokenizer, tmp_path: Path, workers: int, shard_size: int
) -> None:
    seen: list[BuildProgress] = []
    build_store(
        tmp_path / "store", [corpus], tokenizer, workers=workers, shard_size=shard_size, progress=seen.append
    ).verify()
    assert everything_in(tmp_path / "store") == everything_in(built)
    assert seen[-1].num_tokens == TokenStore.open(built).num_tokens
    assert len(seen) > 10 or shard_size != SMALL


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_at_any_moment_loses_a_shard_at_most(built: Path, corpus: Path, tmp_path: Path, workers: int) -> None:
    """Killed again and again, each time after it has come further; its workers die with it."""
    store, program = tmp_path / "store", tmp_path / "program.py"
    program.write_text(
        f"""
import sys, time
from pathlib import Path
from unmask.pretraining import TokenStore, build_store

def slowly(state):
    time.sleep(0.01)

if __name__ == "__main__":
    tokenizer = TokenStore.open(Path(sys.argv[1])).load_tokenizer()
    settings = dict(workers={workers}, shard_size={SMALL}, progress=slowly)
    build_store(Path(sys.argv[2]), [Path(sys.argv[3])], tokenizer, **settings)
"""
    )
    command = [sys.executable, str(program), str(built), str(store), str(corpus)]
    rng = random.Random(3)

    def num_parts() -> int:
        try:
            return json.loads((store / PROGRESS_FILE).read_text())["state"]["num_parts"]
        except FileNotFoundError:
            return 0

    kills, before = 0, 0
    for _ in range(4):
        with subprocess.Popen(command, start_new_session=True) as process:
            goal = before + rng.randrange(1, 12)
            while process.poll() is None and num_parts() < goal:
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.02))
            process.kill()
            process.wait()
            for _ in range(500):  # the workers share the session
                if not list_session(process.pid):
                    break
                time.sleep(0.02)
            assert not list_session(process.pid)
        if (store / RECORD_FILE).exists():
            break
        kills += process.returncode == -signal.SIGKILL
        assert num_parts() >= before
        before = num_parts()
        with refuses("the build of this store is not finished: the same unmask corpus build again goes on with it"):
            TokenStore.open(store)
    assert kills >= 2
    subprocess.run(command, check=True)
    assert everything_in(store) == everything_in(built)


def list_session(session: int) -> list[str]:
    """Processes of a session that are not yet dead."""
    listed = subprocess.run(["ps", "-o", "stat=", "-s", str(session)], capture_output=True, text=True, check=False)
    return [state for state in listed.stdout.split() if not state.startswith("Z")]


@pytest.mark.parametrize("step", ["_Writer.finish", "_write_record", "after _write_record"])
def test_an_end_between_the_last_steps_is_made_good(
    built: Path, corpus: Path, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = tmp_path / "store"

    class Killed(BaseException):
        pass

    def kill(*arguments: Any, **_: object) -> None:
        if step.startswith("after"):
            write_record(*arguments)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(f"unmask.pretraining.building.{step.removeprefix('after ')}", kill)
        with pytest.raises(Killed):
            build_store(store, [corpus], tokenizer)
    assert (store / PROGRESS_FILE).exists()
    if not (store / RECORD_FILE).exists():
        with (store / SENTENCES_FILE).open("ab") as file:
            file.write(b"half of")
    with monkeypatch.context() as patch:  # everything was read
        patch.setattr("unmask.pretraining.building.read_documents", kill)
        build_store(store, [corpus], tokenizer)
        build_store(store, [corpus], tokenizer)  # a finished one is opened
    assert everything_in(store) == everything_in(built)


def test_changes_since_the_build_began_are_refused(
    corpus: Path, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, store = tmp_path / "corpus", tmp_path / "store"
    shutil.copytree(corpus, sources)

    class StoppedError(Exception):
        pass

    def stop(state: BuildProgress) -> None:
        if state.num_parts > 30:
            raise StoppedError

    def build(**changes: Any) -> TokenStore:
        settings: dict[str, Any] = {"tokenizer": tokenizer, "shard_size": SMALL, "sources": [sources]} | changes
        return build_store(store, **settings)

    with pytest.raises(StoppedError):
        build(progress=stop)
    for finished in (False, True):
        if finished:
            build()
        with refuses(
            f"{store}: this store was begun with another tokenizer (of {len(WORDS)} tokens; this one has 257)"
        ):
            build(tokenizer=byte_level())
        with refuses(
            f"{store}: this store was begun with language 'en', and now it is 'none': give the same, or another"
        ):
            build(language="none")
        with refuses("this store was begun with filters [], and now it is ['dedupe']"):
            build(filters=["dedupe"])
        with refuses("was begun with 3 files or data sets, and now there are 2: give the same", DataError):
            build(sources=[sources / "0.txt", sources / "1.txt"])
        old = (sources / "1.txt").read_bytes()
        (sources / "1.txt").write_bytes(old.replace(b"dog", b"cat", 1))
        with refuses(f"{sources / '1.txt'}: this is not what the store in {store} was begun with", DataError):
            build()
        (sources / "1.txt").write_bytes(old)
    (store / RECORD_FILE).unlink()
    with refuses(f"{store}: there is something else here already: choose another folder", DataError):
        build()
    (store / PROGRESS_FILE).write_text("{")
    with refuses(f"{store / PROGRESS_FILE}: damaged (Expecting property name"):
        build()
    (store / PROGRESS_FILE).write_text(json.dumps({"version": 0, "state": {}, "sources": []}))
    with refuses(f"{store / PROGRESS_FILE}: begun by another version of unmask: remove the folder to begin anew"):
        build()


def test_settings_and_empty_corpora_are_refused(tmp_path: Path, tokenizer: Tokenizer, corpus: Path) -> None:
    for settings, message in (
        ({"workers": 0}, "workers is 0: it must be 1 or more"),
        ({"shard_size": 0}, "shard_size is 0: it must be 1 byte or more"),
        ({"language": "fr"}, "no rules for sentences in language 'fr'"),
        ({"filters": ["x"]}, "there is no filter 'x'"),
    ):
        with refuses(message, SettingsError):
            build_store(tmp_path / "store", [corpus], tokenizer, **settings)
    assert not (tmp_path / "store").exists()
    (tmp_path / "a.txt").write_text("the dog")
    with refuses(f"the corpus is empty: there is no text that the filters min-words leave in {tmp_path}", DataError):
        build_store(tmp_path / "store", [tmp_path / "a.txt"], tokenizer, filters=["min-words"])
    (tmp_path / "b.txt").write_text("the dog\n\ncaf\xe9\n", encoding="latin-1")
    with refuses(f"{tmp_path / 'b.txt'}, line 3: byte 4 (0xe9) is not UTF-8", DataError):
        build_store(tmp_path / "store", [tmp_path / "b.txt"], tokenizer, workers=2)
    assert build_store(tmp_path / "store", [tmp_path / "a.txt"], tokenizer).num_tokens == 2  # nothing was lost by these


def test_a_worker_that_dies_is_reported(tmp_path: Path, tokenizer: Tokenizer, corpus: Path) -> None:
    def kill_workers(_: BuildProgress) -> None:
        import multiprocessing

        for child in multiprocessing.active_children():
            child.kill()

    with refuses("one of the 2 processes that tokenize was killed, for want of memory perhaps: give fewer", DataError):
        build_store(tmp_path / "store", [corpus], tokenizer, workers=2, shard_size=SMALL // 10, progress=kill_workers)


# Opening, and damage


def test_opening_ten_gigabytes_reads_nothing(copy: Path) -> None:
    """A file with a hole: were it read, this would take seconds."""
    record = json.loads((copy / RECORD_FILE).read_text())
    num_tokens = 5_000_000_000
    os.truncate(copy / TOKENS_FILE, 2 * num_tokens)
    starts = np.fromfile(copy / SENTENCES_FILE, "<i8")
    starts[-1] = num_tokens
    starts.tofile(copy / SENTENCES_FILE)
    (copy / RECORD_FILE).write_text(json.dumps(record | {"num_tokens": num_tokens}))
    started = time.perf_counter()
    store = TokenStore.open(copy)
    print(f"opened {store.tokens.nbytes / 1e9:.0f} GB in {1e3 * (time.perf_counter() - started):.1f} ms")
    assert store.tokens[-1] == 0
    assert len(store.tokens) == num_tokens


def test_another_tokenizer(built: Path, tokenizer: Tokenizer) -> None:
    assert TokenStore.open(str(built), tokenizer=tokenizer).num_tokens > 1000
    with refuses(
        f"{built}: this store was built with another tokenizer (of {len(WORDS)} tokens, fingerprint "
        f"{tokenizer.fingerprint[:12]}; this one has 257, {byte_level().fingerprint[:12]}), so its numbers mean other "
        f"words: build it again with unmask corpus build, or use the tokenizer in {built / 'tokenizer'}"
    ):
        TokenStore.open(built, tokenizer=byte_level())


def test_a_changed_tokenizer_folder(copy: Path) -> None:
    byte_level().save(copy / "tokenizer")
    with refuses(f"{copy / 'tokenizer'}: not the tokenizer this store was built with: put that one back"):
        TokenStore.open(copy).load_tokenizer()


@pytest.mark.parametrize("name", [TOKENS_FILE, SENTENCES_FILE, DOCUMENTS_FILE])
def test_truncated_longer_missing_and_damaged_files(copy: Path, name: str) -> None:
    path = copy / name
    content = path.read_bytes()
    path.write_bytes(content[:-8])
    with refuses(
        f"{path}: cut short, {len(content) - 8} bytes where store.json says {len(content)}: copy it again, or"
    ):
        TokenStore.open(copy)
    path.write_bytes(content + b"12")
    with refuses(f"{path}: longer than it was written, {len(content) + 2} bytes where store.json says"):
        TokenStore.open(copy)
    path.write_bytes(content[:9] + bytes([content[9] ^ 1]) + content[10:])
    store = TokenStore.open(copy)
    with refuses(f"{path}: damaged, its content is not what was written: copy it again, or build it again with unmask"):
        store.verify()
    path.unlink()
    with refuses(f"{path}: cannot be read: No such file or directory; build it again"):
        TokenStore.open(copy)


def change_record(folder: Path, **changes: Any) -> None:
    """Write another record, with the sha256 of the files as they are."""
    from unmask.files import sha256_of

    record = json.loads((folder / RECORD_FILE).read_text())
    files = {name: [size, sha256_of(folder / name)] for name, (size, _) in record["files"].items()}
    (folder / RECORD_FILE).write_text(json.dumps(record | {"files": files} | changes))


def test_tokens_outside_the_vocabulary_and_empty_sentences(copy: Path) -> None:
    change_record(copy, vocab_size=3)
    with refuses(f"{copy}: there is a token {WORDS.index('run')}, outside the vocabulary of 3: build it again"):
        TokenStore.open(copy).verify()
    starts = np.fromfile(copy / SENTENCES_FILE, "<i8")
    starts[5] = starts[4]
    starts.tofile(copy / SENTENCES_FILE)
    change_record(copy, vocab_size=len(WORDS))
    with refuses(f"{copy}: a sentence or document of it is empty: build it again"):
        TokenStore.open(copy).verify()
    starts[-1] += 1
    starts.tofile(copy / SENTENCES_FILE)
    with refuses(f"{copy}: its files do not belong together: build it again"):
        TokenStore.open(copy)


def test_records_that_are_none(copy: Path, tmp_path: Path) -> None:
    change_record(copy, version=2)
    with refuses(f"{copy / RECORD_FILE}: a store of version 2, and this unmask reads version 1: build it again"):
        TokenStore.open(copy)
    change_record(copy, version=1, num_tokens=0)
    with refuses(f"{copy / RECORD_FILE}: not the record of a store (ValueError: num_tokens is 0): build it again"):
        TokenStore.open(copy)
    for content in ("{", "[]", "{}", '{"version": 1}'):
        (copy / RECORD_FILE).write_text(content)
        with refuses(f"{copy / RECORD_FILE}: not the record of a store ("):
            TokenStore.open(copy)
    with refuses(f"{tmp_path}: no store here, store.json is missing: make one with unmask corpus build"):
        TokenStore.open(tmp_path)


# Real text


@pytest.mark.real_data
def test_korean_in_any_spelling(data_dir: Path, tmp_path: Path) -> None:
    """Composed text goes a faster way; text taken apart into letters (NFD) gets the same ids."""
    from unmask.tokenization.training import train_on_texts

    with gzip.open(data_dir / "text_ko" / "wiki_ko.txt.gz", "rt", encoding="utf-8") as file:
        text = file.read(20_000)
    korean = train_on_texts(iter(text.split("\n")), vocab_size=1500)
    for form in ("NFC", "NFD"):
        (tmp_path / f"{form}.txt").write_text(unicodedata.normalize(form, text))
    composed, apart = (
        build_store(tmp_path / form, [tmp_path / f"{form}.txt"], korean, language="none") for form in ("NFC", "NFD")
    )
    assert composed.num_tokens > 5000
    assert np.array_equal(composed.tokens, apart.tokens)
    assert np.array_equal(composed.sentence_starts, apart.sentence_starts)


@pytest.mark.real_data
def test_real_text(data_dir: Path, tmp_path: Path) -> None:
    """Against the long way round: read, split, encode one by one."""
    bert = Tokenizer.from_folder(data_dir / "vocab" / "bert-base-uncased")
    with gzip.open(data_dir / "text_en" / "wiki_en.txt.gz", "rt", encoding="utf-8") as file:
        text = file.read(500_000)
    path = tmp_path / "wiki.txt"
    path.write_text(text)
    store = build_store(tmp_path / "store", [path], bert, workers=2, shard_size=10**5)
    documents = [document.split("\n") for document in text.strip("\n").split("\n\n")]
    sentences = [[s for paragraph in document for s in split_sentences(paragraph)] for document in documents]
    assert np.diff(store.document_starts).tolist() == [len(document) for document in sentences]
    expected = bert.encode_batch([s for document in sentences for s in document], add_special_tokens=False)
    assert np.diff(store.sentence_starts).tolist() == [len(encoding) for encoding in expected.encodings]
    assert store.tokens.tolist() == [token for encoding in expected.encodings for token in encoding.input_ids]
    assert store.info.num_words == len(text.split())
    counts = Counter(store.tokens.tolist()).values()
    entropy = -sum(n / store.num_tokens * math.log(n / store.num_tokens) for n in counts)
    assert store.info.unigram_entropy == pytest.approx(entropy, rel=1e-9)
