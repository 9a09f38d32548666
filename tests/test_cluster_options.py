"""``--ray`` with and without an address, and Ray left alone unless it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from recoseg.cli.cluster_options import with_addresses


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("photos out", "photos out"),
        ("photos out --ray", "photos out --ray="),
        ("--ray photos out", "--ray= photos out"),
        ("photos out --ray -q", "photos out --ray= -q"),
        ("--ray auto photos out", "--ray auto photos out"),
        ("--ray 10.0.0.1:6379 photos", "--ray 10.0.0.1:6379 photos"),
        ("--ray [::1]:6379 photos", "--ray [::1]:6379 photos"),
        ("--ray ray://head:10001 photos", "--ray ray://head:10001 photos"),
        ("--ray=head:6379 photos", "--ray=head:6379 photos"),
        ("--ray photos/a:1 out", "--ray= photos/a:1 out"),
        ("--ray -- --ray", "--ray= -- --ray"),
        ("-- --ray", "-- --ray"),
    ],
)
def test_only_what_looks_like_an_address_is_one(given, read):
    assert with_addresses(given.split()) == read.split()


@pytest.mark.parametrize(
    "work",
    [
        "import recoseg",
        "from recoseg.cli.app import app; app(['--help'], standalone_mode=False)",
        "from recoseg.cli.app import app; app(['index', '--help'], standalone_mode=False)",
        "import recoseg.index.index, recoseg.cluster.engine",
    ],
)
def test_ray_is_imported_only_when_it_is_asked_for(work):
    code = f"import sys\n{work}\nsys.exit('ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_without_ray_one_sentence_says_what_to_install(monkeypatch, tmp_path):
    from typer.testing import CliRunner

    from recoseg.cli.app import app
    from tests.toys import paint

    paint(tmp_path / "photos" / "red.png", "red")
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ["index", str(tmp_path / "photos"), str(tmp_path / "out"), "--ray"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 3
    assert "a cluster needs ray; pip install 'recoseg[ray]'." in result.stderr


def test_a_cluster_that_does_not_start_is_one_sentence(monkeypatch):
    import ray

    from recoseg.cluster.engine import RayCluster
    from recoseg.errors import RecosegError

    def late(*_args, **_more):
        raise Exception("The current node timed out\n during startup.")

    monkeypatch.setattr(ray, "init", late)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with (
        pytest.raises(RecosegError, match="'local' \\(The current node timed out during startup"),
        RayCluster.connect("local"),
    ):
        pass
