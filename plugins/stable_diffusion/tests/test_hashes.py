"""What is computed once, and when it is computed again."""

import hashlib
import json
import os

import pytest
from sd import hashes
from sd.hashes import KEPT, sha256, stamped


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A file that counts as large."""
    monkeypatch.setattr(hashes, "LARGE", 3)
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"weights")
    return path


def again(model):
    """Its sha256 after a restart."""
    hashes._known.clear()
    return sha256(stamped([model]), model.parent)


def test_a_hash_is_kept_on_the_disk_until_the_file_changes(model):
    assert again(model) == hashlib.sha256(b"weights").hexdigest()
    before = model.stat()
    model.write_bytes(b"WEIGHTS")
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert again(model) == hashlib.sha256(b"weights").hexdigest()  # nobody can tell that it was changed
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert again(model) == hashlib.sha256(b"WEIGHTS").hexdigest()


@pytest.mark.parametrize("damaged", ["", "{", "[]", "wrong"])
def test_a_damaged_list_of_hashes_is_ignored(model, damaged):
    again(model)
    kept = model.parent / KEPT
    text = kept.read_text()
    kept.write_text(json.dumps({key: 3 for key in json.loads(text)}) if damaged == "wrong" else damaged)
    assert again(model) == hashlib.sha256(b"weights").hexdigest()
    assert kept.read_text() == text


def test_a_small_file_is_not_kept(model, monkeypatch):
    monkeypatch.setattr(hashes, "LARGE", 100)
    again(model)
    assert not (model.parent / KEPT).exists()


def test_hashing_can_be_given_up(model):
    def check():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        sha256(stamped([model]), model.parent, check)
    assert not (model.parent / KEPT).exists()
