"""Every backend passes the one contract; the networks are tiny, their layers are the real ones."""

from __future__ import annotations

import functools

import pytest
import torch
from open_clip.constants import OPENAI_DATASET_MEAN as OPENAI_MEAN
from open_clip.constants import OPENAI_DATASET_STD as OPENAI_STD

from recoseg import PAPER, ConceptBank, Index, Segmenter
from recoseg.errors import BankError, IndexMismatch, UnknownModel
from recoseg.models import registry
from recoseg.models.base import JointModel, PatchEncoder
from tests import giants
from tests.contract import (
    BothContract,
    EncoderContract,
    JointContract,
    pictures,
    refuses_wrong_shapes,
)
from tests.toys import Toy, paint

RECIPE = PAPER.replace(k=1, templates="plain", ce=False, contexts=(), archive_size=64)
VITS = (
    "deit_tiny_distilled_patch16_224",
    "test_vit",
    "vit_tiny_patch16_dinov3_qkvb",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("weights")
    giants.register(made)
    return made


@functools.cache
def tiny(architecture, folder):
    """The file of a network with random weights, made once."""
    make = giants.clip if architecture in giants.TINY else giants.vit
    return make(architecture, folder)[1]


class TestToy(BothContract):
    @pytest.fixture
    def joint(self):
        return Toy()

    encoder = joint


class TestLite(BothContract):
    @pytest.fixture
    def joint(self):
        return registry.load("lite", "cpu")

    encoder = joint


class TestClip(JointContract):
    @pytest.fixture(params=["tiny-resnet", "tiny-vit", "tiny-vit?dense=selfself"])
    def joint(self, request, folder):
        architecture, mark, option = request.param.partition("?")
        file = tiny(architecture, folder)
        return registry.load(f"clip:{architecture}/{file}{mark}{option}", "cpu")

    def test_wrong_shapes_are_refused(self, joint):
        refuses_wrong_shapes(joint.dense)
        refuses_wrong_shapes(joint.embed_images)


class TestTimm(EncoderContract):
    @pytest.fixture(params=[*VITS, "test_convnext", "test_resnet?stride=16"])
    def encoder(self, request, folder):
        architecture, mark, option = request.param.partition("?")
        file = tiny(architecture, folder)
        return registry.load(f"timm:{architecture}/{file}{mark}{option}", "cpu")

    def test_wrong_shapes_are_refused(self, encoder):
        refuses_wrong_shapes(encoder.features)


def test_other_weights_or_another_dense_map_are_another_fingerprint(folder):
    files = [giants.clip("tiny-vit", folder, seed)[1] for seed in (1, 2)]
    ids = [f"clip:tiny-vit/{file}" for file in files]
    models = [registry.load(id, "cpu") for id in (*ids, f"{ids[0]}?dense=selfself")]
    assert len({model.fingerprint for model in models}) == 3


def test_the_fingerprint_is_of_the_file_s_bytes_not_of_its_place(folder, tmp_path):
    _, file = giants.vit("test_vit", folder, 1)
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(file.read_bytes())
    first, second = (registry.load(f"timm:test_vit/{f}", "cpu") for f in (file, copy))
    assert first.fingerprint == second.fingerprint
    _, other = giants.vit("test_vit", folder, 2)
    assert registry.load(f"timm:test_vit/{other}", "cpu").fingerprint != first.fingerprint


def test_a_tower_without_a_dense_map_still_retrieves(folder):
    _, file = giants.clip("tiny-coca", folder)
    model = registry.load_joint(f"clip:tiny-coca/{file}", "cpu")
    torch.testing.assert_close(model.embed_images(pictures()).norm(dim=1), torch.ones(2))
    with pytest.raises(UnknownModel, match="no such dense map is defined"):
        model.dense(pictures())


def test_selfself_is_for_vits(folder):
    _, file = giants.clip("tiny-resnet", folder)
    with pytest.raises(UnknownModel, match="no such dense map"):
        registry.load(f"clip:tiny-resnet/{file}?dense=selfself", "cpu")


def test_the_stride_of_a_convnet_can_be_chosen(folder):
    _, file = giants.vit("test_resnet", folder)
    fine, coarse = (registry.load(f"timm:test_resnet/{file}{o}", "cpu") for o in ("?stride=8", ""))
    assert (fine.stride, coarse.stride) == (8, 32)
    assert fine.features(pictures()).shape == (2, fine.dim, 12, 20)
    with pytest.raises(UnknownModel, match="stride must be one of"):
        registry.load(f"timm:test_resnet/{file}?stride=5", "cpu")


def test_a_clip_is_no_encoder_and_an_encoder_reads_no_text(folder):
    _, file = giants.vit("test_vit", folder)
    encoder = registry.load(f"timm:test_vit/{file}", "cpu")
    assert isinstance(encoder, PatchEncoder)
    assert not isinstance(encoder, JointModel)
    with pytest.raises(UnknownModel, match="reads no text"):
        registry.load_joint(f"timm:test_vit/{file}", "cpu")
    _, file = giants.clip("tiny-vit", folder)
    with pytest.raises(UnknownModel, match="gives no pixel features"):
        registry.load_encoder(f"clip:tiny-vit/{file}", "cpu")


def test_an_index_of_one_clip_never_answers_another(folder, tmp_path):
    paint(tmp_path / "photos" / "a.png", "red")
    first, second = (
        registry.load_joint(f"clip:tiny-vit/{giants.clip('tiny-vit', folder, seed)[1]}", "cpu")
        for seed in (7, 8)
    )
    index = Index.build(tmp_path / "photos", tmp_path / "index", model=first, progress=False)
    index.check(first)
    for other in (second, registry.load(f"{first.id}?dense=selfself", "cpu")):
        with pytest.raises(IndexMismatch, match="build"):
            index.check(other)
        with pytest.raises(IndexMismatch):
            Index.build(tmp_path / "photos", tmp_path / "index", model=other, progress=False)
        with pytest.raises(IndexMismatch):
            ConceptBank.build(
                ["red"], index, RECIPE.replace(retrieval=other.id), progress=False
            )  # fmt: skip


def test_a_bank_says_what_built_it_and_refuses_other_weights(folder, tmp_path):
    file = giants.clip("tiny-resnet", folder, 7)[1]
    recipe = RECIPE.replace(retrieval="lite", dense=f"clip:tiny-resnet/{file}", encoder="lite")
    picture = paint(tmp_path / "a.png", "green", "red")
    bank = ConceptBank.build([], None, recipe, examples={"red": [picture]}, progress=False)
    bank.save(tmp_path / "red.bank")
    opened = ConceptBank.open(tmp_path / "red.bank")
    assert opened.fingerprints["dense"] == registry.load(recipe.dense).fingerprint
    assert Segmenter(opened)(picture).names == ("red",)
    file.write_bytes(giants.clip("tiny-resnet", folder, 8)[1].read_bytes())
    registry.release()
    with pytest.raises(BankError, match="same weights, or build the bank again"):
        Segmenter(opened)


@torch.inference_mode()
@pytest.mark.parametrize("architecture", ["deit_tiny_distilled_patch16_224", "test_vit"])
def test_plain_positions_are_bicubic_without_antialiasing(architecture, folder):
    own, file = giants.vit(architecture, folder)
    encoder = registry.load(f"timm:{architecture}/{file}?positions=plain&cells=cut", "cpu")
    native = own.patch_embed.img_size
    pixels = torch.rand(2, 3, native[0] + 40, 2 * native[1] + 9)
    mean, std = (torch.tensor(own.pretrained_cfg[k]).view(3, 1, 1) for k in ("mean", "std"))
    tokens = own.patch_embed.proj((pixels - mean) / std)
    height, width = tokens.shape[2:]
    prefix = own.num_prefix_tokens
    square = own.pos_embed[0, prefix:].T.unflatten(1, own.patch_embed.grid_size)[None]
    table = torch.nn.functional.interpolate(square, (height, width), mode="bicubic")
    front = torch.cat(
        [t for t in (own.cls_token, getattr(own, "dist_token", None)) if t is not None], 1
    )
    tokens = tokens.flatten(2).transpose(1, 2) + table.flatten(2).transpose(1, 2)
    tokens = torch.cat([(front + own.pos_embed[:, :prefix]).expand(2, -1, -1), tokens], 1)
    expected = own.norm(own.blocks(own.norm_pre(tokens)))[:, prefix:]
    found = encoder.features(pixels)
    assert found.shape[2:] == (height, width)
    torch.testing.assert_close(found.flatten(2).mT, expected, atol=1e-4, rtol=1e-4)


def test_networks_without_a_table_of_positions_refuse_plain_ones(folder):
    for architecture in ("test_convnext", "vit_tiny_patch16_dinov3_qkvb"):
        with pytest.raises(UnknownModel, match="no positions"):
            registry.load(
                f"timm:{architecture}/{tiny(architecture, folder)}?positions=plain", "cpu"
            )


def test_cells_that_are_cut_are_those_of_the_networks_themselves(folder):
    """KITTI-STEP's 375 x 1242 pixels become 23 x 77 patches and 11 x 38 cells, as in the paper."""
    image = torch.rand(1, 3, 375, 1242)
    vit = registry.load(f"timm:test_vit/{tiny('test_vit', folder)}?cells=cut", "cpu")
    assert vit.features(image).shape[2:] == (23, 77)
    torch.testing.assert_close(vit.features(image), vit.features(image[:, :, :368, :1232]))
    own, file = giants.clip("tiny-resnet", folder)
    dense = registry.load(f"clip:tiny-resnet/{file}?cells=cut", "cpu").dense(image)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (OPENAI_MEAN, OPENAI_STD))
    with torch.inference_mode():
        x = own.visual.stem((image - mean) / std)
        x = own.visual.layer4(own.visual.layer3(own.visual.layer2(own.visual.layer1(x))))
        pool = own.visual.attnpool
        expected = pool.c_proj(pool.v_proj(x.permute(0, 2, 3, 1)))
    assert expected.shape[1:3] == (11, 38)
    expected = torch.nn.functional.normalize(expected, dim=-1).permute(0, 3, 1, 2)
    torch.testing.assert_close(dense, expected, atol=1e-5, rtol=1e-4)


def test_options_are_part_of_the_fingerprint_and_the_usual_ones_are_not(folder):
    clip, vit = (
        f"clip:tiny-resnet/{tiny('tiny-resnet', folder)}",
        f"timm:test_vit/{tiny('test_vit', folder)}",
    )
    for id, usual, others in (
        (clip, "?cells=stretch&decode=reduced", ("?cells=cut", "?decode=whole")),
        (vit, "?cells=stretch&positions=smooth", ("?cells=cut", "?positions=plain")),
    ):
        plain = registry.load(id, "cpu").fingerprint
        assert registry.load(id + usual, "cpu").fingerprint == plain
        found = {registry.load(id + other, "cpu").fingerprint for other in others}
        assert len(found - {plain}) == 2
    assert registry.load(f"{clip}?decode=whole", "cpu").input_size is None
    assert registry.load(clip, "cpu").input_size == 128
