import threading

import pytest

from patchwidget.models.file_cache import MANIFEST, cache_dir, is_intact, made_once


def writer(calls, text="weights"):
    def make(folder):
        calls.append(folder)
        (folder / "a.bin").write_text(text)
        (folder / "b.json").write_text("{}")

    return make


def test_makes_once_and_whole(tmp_path):
    calls = []
    folder = made_once(tmp_path / "model", writer(calls))
    assert made_once(folder, writer(calls)) == tmp_path / "model"
    assert len(calls) == 1
    assert (folder / "a.bin").read_text() == "weights"


def flip_byte(folder):
    (folder / "a.bin").write_text("weightz")


def truncate(folder):
    (folder / "a.bin").write_text("wei")


def remove_file(folder):
    (folder / "b.json").unlink()


def remove_manifest(folder):
    (folder / MANIFEST).unlink()


def spoil_manifest(folder):
    (folder / MANIFEST).write_text("{")


@pytest.mark.parametrize("damage", [flip_byte, truncate, remove_file, remove_manifest, spoil_manifest])
def test_damage_is_seen_and_mended(tmp_path, damage, caplog):
    calls = []
    folder = made_once(tmp_path / "model", writer(calls))
    damage(folder)
    assert not is_intact(folder)
    made_once(folder, writer(calls))
    assert len(calls) == 2
    assert (folder / "a.bin").read_text() == "weights"
    assert "damaged" in caplog.text


def test_failure_leaves_nothing(tmp_path):
    def fail(folder):
        (folder / "a.bin").write_text("half")
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        made_once(tmp_path / "model", fail)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / "model.abc.tmp").mkdir()
    (tmp_path / "other.abc.tmp").mkdir()
    made_once(tmp_path / "model", writer([]))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["model", "other.abc.tmp"]


def test_two_at_once_make_it_once(tmp_path):
    calls = []
    inside, go_on = threading.Event(), threading.Event()

    def slow(folder):
        inside.set()
        assert go_on.wait(10)
        writer(calls)(folder)

    first = threading.Thread(target=made_once, args=(tmp_path / "model", slow))
    first.start()
    assert inside.wait(10)
    second = threading.Thread(target=made_once, args=(tmp_path / "model", writer(calls, "other")))
    second.start()
    go_on.set()
    first.join()
    second.join()
    assert len(calls) == 1
    assert (tmp_path / "model" / "a.bin").read_text() == "weights"


def test_cache_dir_is_the_users_choice(monkeypatch, tmp_path):
    monkeypatch.setenv("PATCHWIDGET_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("PATCHWIDGET_CACHE")
    assert cache_dir().name == "patchwidget"
