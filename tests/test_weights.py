"""Where weights are looked for, what is said when they are not there, and what is never run."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import socket
import threading
import warnings
from pathlib import Path

import huggingface_hub
import open_clip
import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import load_file, save_file

from recoseg.errors import MissingWeights, UnknownModel
from recoseg.models import cliptable, network, openclip, registry, weights
from recoseg.models.weights import PublishedWeights
from tests import giants

SIN = "timm:deit_small_distilled_patch16_224.sin"


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """A machine with empty caches whose every connection fails; returns the attempts."""
    attempts = []

    def refuse(*arguments, **_):
        attempts.append(arguments)
        raise OSError("the network is unplugged")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("RECOSEG_WEIGHTS", str(tmp_path / "own"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return attempts


@pytest.fixture
def online(monkeypatch):
    for name in weights.OFFLINE:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("weights")
    giants.register(made)
    return made


@pytest.fixture(scope="module")
def vit(folder):
    return giants.vit("test_vit", folder)[1]


class TestOffline:
    @pytest.mark.parametrize(
        ("id", "file"),
        [
            ("ViT-L/14@336px", "timm/vit_large_patch14_clip_336.openai"),
            ("RN50x16", "timm/resnet50x16_clip.openai: open_clip_model.safetensors"),
            ("DINO-S/16", "timm/vit_small_patch16_224.dino: model.safetensors"),
            ("DeiT-S/16-SIN", "deit_s_sin_dist.pth"),
            ("clip:ViT-B-16-SigLIP/webli", "timm/ViT-B-16-SigLIP"),
        ],
    )
    def test_one_sentence_says_what_where_and_how_and_no_socket_is_opened(self, bare, id, file):
        with pytest.raises(MissingWeights) as error:
            registry.load(id, "cpu")
        message = str(error.value)
        assert file in message
        assert "HF_HUB_OFFLINE" in message
        assert "recoseg models fetch" in message
        assert "copy" in message
        assert "`lite` works now" in message
        assert bare == []

    def test_a_tokenizer_of_the_hub_s_is_missed_like_weights(self, bare, vit):
        with pytest.raises(MissingWeights, match=r"timm/ViT-B-16-SigLIP: tokenizer\.json"):
            registry.load(f"clip:ViT-B-16-SigLIP/{vit}", "cpu")
        assert bare == []

    @pytest.mark.parametrize("id", ["RN50x16", "DeiT-S/16-SIN"])
    def test_a_dead_network_is_tried_once(self, bare, online, monkeypatch, id):
        monkeypatch.setattr(network, "PATIENCE", 60)  # it fails at once, even on a busy machine
        with pytest.raises(MissingWeights, match="cannot be reached"):
            registry.load(id, "cpu")
        assert len(bare) == 1

    def test_a_network_that_never_answers_is_not_waited_for(self, online, monkeypatch):
        monkeypatch.setattr(network, "PATIENCE", 0.05)
        test_is_over = threading.Event()

        def slow(*_, **__):
            test_is_over.wait(30)
            raise OSError("too late")

        monkeypatch.setattr(socket, "getaddrinfo", slow)
        with pytest.raises(MissingWeights, match=r"no answer within 0\.05 s"):
            registry.load("RN50x16", "cpu")
        test_is_over.set()
        for thread in threading.enumerate():
            if thread.name == network.WAITING:
                thread.join()

    def test_lite_needs_no_network(self, bare):
        assert registry.load("lite", "cpu").embed_texts(["cat"]).shape == (1, 1280)
        assert bare == []


class TestPlaces:
    def test_the_hub_s_cache_comes_first(self, tmp_path, vit):
        repository = tmp_path / "hf" / "hub" / "models--timm--test_vit.r160_in1k"
        snapshot = repository / "snapshots" / "0123"
        snapshot.mkdir(parents=True)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("0123")
        (snapshot / "model.safetensors").write_bytes(vit.read_bytes())
        assert registry.load("timm:test_vit.r160_in1k", "cpu").dim == 64

    def test_our_own_folder_holds_what_no_hub_has(self, tmp_path):
        published = PublishedWeights(SIN, url="https://example.org/a/weights.pth")
        assert published.find_cached() is None
        (tmp_path / "own").mkdir()
        (tmp_path / "own" / "weights.pth").touch()
        assert published.find() == tmp_path / "own" / "weights.pth"

    def test_a_file_with_another_digest_is_not_taken(self, tmp_path):
        clip = tmp_path / ".cache" / "clip"
        clip.mkdir(parents=True)
        (clip / "RN50.pt").write_bytes(b"weights")
        known = hashlib.sha256(b"weights").hexdigest()
        url = "https://example.org/RN50.pt"
        assert PublishedWeights("x", url=url, sha256=known).find_cached() == clip / "RN50.pt"
        assert PublishedWeights("x", url=url, sha256="0" * 64).find_cached() is None

    def test_open_clip_s_table_gives_digests_and_repositories(self):
        published = cliptable.publication(registry.identify("RN50x16"))
        assert published.repository == "timm/resnet50x16_clip.openai"
        assert len(published.sha256) == 64
        assert published.url.endswith("/RN50x16.pt")

    def test_a_download_is_whole_and_as_expected_or_not_there(self, online, tmp_path, monkeypatch):
        source = tmp_path / "w.pth"
        source.write_bytes(b"x" * 3_000_000)
        monkeypatch.setattr(network, "_check_reachable", lambda *_: None)
        known = hashlib.sha256(source.read_bytes()).hexdigest()
        found = network.download_url(source.as_uri(), tmp_path / "own", known)
        assert found.read_bytes() == source.read_bytes()
        with pytest.raises(network.Unavailable, match="not the file expected"):
            network.download_url(source.as_uri(), tmp_path / "other", "0" * 64)
        assert list((tmp_path / "other").iterdir()) == []

    def test_a_download_that_stalls_is_given_up(self, online, tmp_path, monkeypatch):
        limits = []

        def stalled(*_, **__):
            limits.append(socket.getdefaulttimeout())
            raise TimeoutError("timed out")

        monkeypatch.setattr(network, "_check_reachable", lambda *_: None)
        monkeypatch.setattr(torch.hub, "urlopen", stalled)
        with pytest.raises(network.Unavailable, match="could not be downloaded"):
            network.download_url("https://example.org/w.pth", tmp_path / "own")
        assert limits == [30.0]
        assert socket.getdefaulttimeout() is None
        assert list((tmp_path / "own").iterdir()) == []

    def test_the_hub_s_files_are_tried_in_order_and_checked(self, online, tmp_path, monkeypatch):
        blobs = tmp_path / "blobs"
        blobs.mkdir()
        good = blobs / hashlib.sha256(b"weights").hexdigest()
        asked = []

        def download(repository, name, **_):
            asked.append(name)
            if name == "absent":
                raise EntryNotFoundError.__new__(EntryNotFoundError)
            blob = good if name == "good" else blobs / ("0" * 64)
            blob.write_bytes(b"weights")
            (tmp_path / name).symlink_to(blob)
            return str(tmp_path / name)

        monkeypatch.setattr(network, "_check_reachable", lambda *_: None)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
        assert (
            network.download_from_hub("a/b", ("absent", "good"), tmp_path).read_bytes()
            == b"weights"
        )
        assert asked == ["absent", "good"]
        with pytest.raises(network.Unavailable, match="damaged"):
            network.download_from_hub("a/b", ("bad",), tmp_path)
        assert [blob.name for blob in blobs.iterdir()] == [good.name]
        with pytest.raises(network.Unavailable, match="has none of absent"):
            network.download_from_hub("a/b", ("absent",), tmp_path)

    @pytest.mark.parametrize(
        "id",
        [
            "clip:ViT-B-16/openai?revision=0123abc",
            "timm:deit_small_patch16_224.fb_in1k?revision=0123abc",
        ],
    )
    def test_a_revision_reaches_cache_and_hub(self, online, tmp_path, monkeypatch, id):
        asked = []

        def cached(repository, name, *, cache_dir, revision):
            asked.append(revision)

        def download(repository, name, **wanted):
            asked.append(wanted["revision"])
            raise OSError("no network")

        monkeypatch.setattr(network, "_check_reachable", lambda *_: None)
        monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
        with pytest.raises(MissingWeights):
            registry.load(id, device="cpu")
        assert len(asked) >= 2
        assert set(asked) == {"0123abc"}

    def test_what_has_no_revisions_says_so(self):
        with pytest.raises(UnknownModel, match="has no revisions"):
            registry.load("DeiT-S/16-SIN?revision=0123abc")
        with pytest.raises(UnknownModel, match="commit or a tag"):
            registry.load("clip:ViT-B-16/openai?revision=")


class TestFiles:
    def test_published_wrappers_and_prefixes_are_taken_off(self, tmp_path, vit):
        state = load_file(vit)
        expected = registry.load(f"timm:test_vit/{vit}", "cpu")
        picture = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
        options = argparse.Namespace(lr=0.1)
        for number, stored in enumerate(
            [
                state,
                {"model": state, "epoch": 3, "args": options, "optimizer": {"state": {}}},
                {"state_dict": {f"module.{k}": v for k, v in state.items()}},
                {"teacher": {f"module.backbone.{k}": v for k, v in state.items()}},
                {k: v for k, v in state.items() if not k.startswith("head.")},
            ]
        ):
            file = tmp_path / f"{number}.pth"
            torch.save(stored, file)
            found = registry.load(f"timm:test_vit/{file}", "cpu")
            assert torch.equal(found.features(picture), expected.features(picture))

    def test_what_does_not_fit_is_refused(self, tmp_path, vit):
        state = load_file(vit)
        cases = {
            "lacks": {k: v for k, v in state.items() if k != "norm.weight"},
            "also holds": {**state, "projection.weight": torch.zeros(1)},
            "another shape": {**state, "norm.weight": torch.zeros(3)},
        }
        for reason, wrong in cases.items():
            file = tmp_path / f"{reason}.safetensors"
            save_file(wrong, file)
            with pytest.raises(MissingWeights, match=reason):
                registry.load(f"timm:test_vit/{file}", "cpu")

    def test_weights_of_another_clip_are_refused(self, folder):
        file = giants.clip("tiny-vit", folder)[1]
        with pytest.raises(MissingWeights, match="does not hold the weights of tiny-resnet"):
            registry.load(f"clip:tiny-resnet/{file}", "cpu")

    def test_a_pickle_with_code_is_refused_and_not_run(self, tmp_path):
        ran = tmp_path / "ran"

        class Evil:
            def __reduce__(self):
                return Path.touch, (ran,)

        torch.save({"model": {"a": torch.zeros(1)}, "args": Evil()}, tmp_path / "new.pth")
        torch.save(Evil(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
        (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil()))
        for file in ("new.pth", "old.pth", "plain.pt"):
            for scheme in ("timm:test_vit", "clip:RN50"):
                with pytest.raises(MissingWeights, match="tensors alone"):
                    registry.load(f"{scheme}/{tmp_path / file}", "cpu")
        assert not ran.exists()

    @pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "a.bin"])
    def test_damaged_files_are_refused(self, tmp_path, vit, name):
        for content in (b"", b"not weights", vit.read_bytes()[:5000]):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(MissingWeights):
                registry.load(f"timm:test_vit/{tmp_path / name}", "cpu")
        with pytest.raises(MissingWeights, match="there is no file"):
            registry.load(f"timm:test_vit/{tmp_path / 'none.pt'}", "cpu")

    def test_a_program_is_run_only_if_openai_published_it(self, tmp_path, monkeypatch):
        file = tmp_path / "RN50.pt"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.script(torch.nn.Linear(2, 2)).save(str(file))
        with pytest.raises(MissingWeights, match="TorchScript program"):
            registry.load(f"clip:RN50/{file}", "cpu")
        asked = []
        monkeypatch.setattr(open_clip.openai, "load_openai_model", lambda p, **_: asked.append(p))
        monkeypatch.setattr(cliptable, "known_digest", lambda url: weights.digest(file)[:8])
        with pytest.raises(MissingWeights, match="TorchScript program"):
            registry.load(f"clip:RN50/{file}", "cpu")
        monkeypatch.setattr(cliptable, "known_digest", lambda url: weights.digest(file))
        with pytest.raises(AttributeError):
            registry.load(f"clip:RN50/{file}", "cpu")
        assert asked == [str(file)]


class TestBarePaths:
    def test_a_file_known_by_its_digest_needs_no_architecture(self, tmp_path, monkeypatch):
        file = tmp_path / "weights.pt"
        file.write_bytes(b"RN50 of OpenAI")
        monkeypatch.setattr(
            cliptable, "known_digest", lambda url: weights.digest(file) if "RN50.pt" in url else ""
        )
        assert str(registry.identify(str(file))) == f"clip:RN50/{file}"

    def test_another_one_is_ambiguous(self, vit):
        with pytest.raises(UnknownModel, match="which architecture"):
            registry.load(str(vit))

    def test_a_downloaded_repository_says_its_architecture(self, tmp_path, vit):
        (tmp_path / "repo").mkdir()
        (tmp_path / "repo" / "model.safetensors").write_bytes(vit.read_bytes())
        with pytest.raises(UnknownModel, match="which architecture"):
            registry.load(str(tmp_path / "repo"))
        config = '{"architecture": "test_vit", "pretrained_cfg": {"tag": "r160_in1k"}}'
        (tmp_path / "repo" / "config.json").write_text(config)
        assert registry.load(str(tmp_path / "repo"), "cpu").dim == 64


class TestQuickGelu:
    @pytest.mark.parametrize(
        ("architecture", "published", "expected"),
        [("tiny-vit", False, False), ("tiny-vit-quickgelu", False, True), ("tiny-vit", True, True)],
    )
    def test_a_local_file_s_activation(
        self, folder, tmp_path, monkeypatch, architecture, published, expected
    ):
        text = (folder / "tiny-vit.json").read_text()
        (tmp_path / "tiny-vit-quickgelu.json").write_text(text[:-1] + ', "quick_gelu": true}')
        open_clip.add_model_config(tmp_path / "tiny-vit-quickgelu.json")
        file = giants.clip("tiny-vit", folder, 5)[1]
        if published:
            monkeypatch.setattr(cliptable, "known_digest", lambda url: weights.digest(file))
        id = registry.identify(f"clip:{architecture}/{file}")
        model = openclip.load(id).model
        kinds = {type(m).__name__ for m in model.modules() if "GELU" in type(m).__name__}
        assert kinds == {"QuickGELU" if expected else "GELU"}

    def test_openai_s_tags_are_quick_and_laion_s_are_not(self, monkeypatch):
        monkeypatch.setattr(PublishedWeights, "find", lambda self: Path("x"))
        for source, quick in (("openai", True), ("laion2b_s34b_b88k", False)):
            assert (
                openclip.resolve(registry.identify(f"clip:ViT-B-16/{source}")).quick_gelu == quick
            )
