"""The backends against open_clip and timm themselves, on true architectures with random weights.

RN50x16, ViT-L/14@336 and distilled DeiT-S are the paper's; each is made once. The whole pipeline is
run with RN50x16's true image tower and the true DeiT-S, but with a thin text tower and a tiny CLIP
for retrieval: the true ones would take minutes and add nothing that the other tests do not show.
"""

from __future__ import annotations

import gc

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from skimage import data

from recoseg import Segmenter
from recoseg.datasets import tables
from recoseg.models import registry
from recoseg.models.denseclip import dense_map
from tests import giants, paperstage
from tests.oracles import paper

WORDS = ["a photo of a cat", "there is the fire hydrant in the scene", "sky"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("giants")
    giants.register(made)
    yield made
    registry.release()
    gc.collect()
    for file in made.iterdir():
        file.unlink()


@pytest.fixture(scope="module")
def resnet(folder):
    return giants.clip("RN50x16", folder)


def random_pixels(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def check_embeddings(architecture, own, file, image):
    """(a): what open_clip's own transform, towers and tokenizer give."""
    ours = registry.load(f"clip:{architecture}/{file}", "cpu")
    size = own.visual.image_size
    transform = image_transform_v2(PreprocessCfg(size=size), is_train=False)
    expected = own.encode_image(transform(Image.fromarray(image))[None], normalize=True)
    found = ours.embed_images(ours.preprocess(image)[None])
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-3)
    tokens = open_clip.get_tokenizer(architecture)(WORDS)
    expected = own.encode_text(tokens, normalize=True)
    torch.testing.assert_close(ours.embed_texts(WORDS), expected, atol=2e-5, rtol=1e-3)
    return ours


def test_rn50x16_embeds_as_open_clip_does(resnet):
    ours = check_embeddings("RN50x16", *resnet, data.chelsea())
    assert (ours.dim, ours.preprocess(data.chelsea()).shape) == (768, (3, 384, 384))


@pytest.mark.parametrize("architecture", ["ViT-L-14-336", "ViT-B-16"])
def test_vits_embed_as_open_clip_does(folder, architecture):
    own, file = giants.clip(architecture, folder)
    check_embeddings(architecture, own, file, data.coffee())
    registry.release()


@torch.inference_mode()
def test_denseclip_is_the_attention_pool_with_its_attention_on_one_place(resnet):
    """(b): a query that may see one place alone, and no positional embedding."""
    visual = resnet[0].visual
    pixels = random_pixels(1, 3, 96, 160)
    x = visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.stem(pixels)))))
    pool = visual.attnpool
    tokens = x.flatten(2).permute(2, 0, 1)
    place = torch.eye(len(tokens), dtype=torch.bool)
    bias = torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias])
    mixed, _ = F.multi_head_attention_forward(
        tokens, tokens, tokens, tokens.shape[2], pool.num_heads,
        None, bias, None, None, False, 0.0, pool.c_proj.weight, pool.c_proj.bias, training=False,
        need_weights=False, attn_mask=~place, use_separate_proj_weight=True,
        q_proj_weight=pool.q_proj.weight, k_proj_weight=pool.k_proj.weight,
        v_proj_weight=pool.v_proj.weight,
    )  # fmt: skip
    expected = F.normalize(mixed, dim=2).permute(1, 2, 0).unflatten(2, (3, 5))
    compute, stride = dense_map(visual)
    assert stride == 32
    torch.testing.assert_close(compute(pixels), expected, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_denseclip_of_one_cell_is_open_clip_s_pool_without_positions(folder):
    """(b) again, through the pool's own ``forward``: its mean token and its one place are equal."""
    own, _ = giants.clip("tiny-resnet", folder)
    own.visual.attnpool.positional_embedding = torch.nn.Parameter(torch.zeros(2, 512))
    pixels = random_pixels(2, 3, 32, 32)
    compute, _ = dense_map(own.visual)
    found = compute(pixels)[:, :, 0, 0]
    torch.testing.assert_close(found, F.normalize(own.visual(pixels), dim=1), atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_a_vit_s_value_map_is_its_last_block_with_each_token_on_itself(folder):
    """The same of a ViT, at its native size: its own blocks, the last with a diagonal mask."""
    visual = giants.clip("tiny-vit", folder)[0].visual
    pixels = random_pixels(2, 3, 64, 64)
    tokens = visual._embeds(pixels)
    *blocks, last = visual.transformer.resblocks
    for block in blocks:
        tokens = block(tokens)
    alone = torch.full((17, 17), -torch.inf).fill_diagonal_(0)
    tokens = visual.ln_post(last(tokens, attn_mask=alone)) @ visual.proj
    expected = F.normalize(tokens[:, 1:], dim=2).transpose(1, 2).unflatten(2, (4, 4))
    torch.testing.assert_close(dense_map(visual)[0](pixels), expected, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_selfself_attends_by_queries_and_leaves_out_residual_and_mlp(folder):
    visual = giants.clip("tiny-vit", folder)[0].visual
    pixels = random_pixels(1, 3, 64, 64)
    tokens = visual._embeds(pixels)
    *blocks, last = visual.transformer.resblocks
    for block in blocks:
        tokens = block(tokens)
    normed = last.ln_1(tokens)[0]
    weight, bias = last.attn.in_proj_weight, last.attn.in_proj_bias
    heads = []
    for head in range(2):
        q = slice(head * 32, head * 32 + 32)
        v = slice(128 + head * 32, 128 + head * 32 + 32)
        query, value = normed @ weight[q].T + bias[q], normed @ weight[v].T + bias[v]
        heads.append(torch.softmax(query @ query.T / 32**0.5, dim=1) @ value)
    out = last.attn.out_proj(torch.cat(heads, dim=1))
    expected = F.normalize(visual.ln_post(out) @ visual.proj, dim=1)[1:].T.unflatten(1, (4, 4))
    found = dense_map(visual, "selfself")[0](pixels)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_deit_s_gives_timm_s_patch_tokens(folder):
    """(c), at the native size and at one whose sides differ."""
    own, file = giants.vit("deit_small_distilled_patch16_224", folder)
    encoder = registry.load(f"timm:deit_small_distilled_patch16_224/{file}", "cpu")
    pixels = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in paper.IMAGENET)
    expected = own.forward_features((pixels - mean) / std)[:, 2:]
    found = encoder.features(pixels)
    assert found.shape == (1, 384, 14, 14)
    torch.testing.assert_close(found.flatten(2).transpose(1, 2), expected, atol=1e-4, rtol=1e-4)
    assert encoder.features(pixels[:, :, :160]).shape == (1, 384, 10, 14)


@pytest.fixture(scope="module")
def stage(folder, tmp_path_factory):
    names = [*tables.table("cityscapes").literal.values()]
    return paperstage.build(folder, tmp_path_factory.mktemp("stage"), names)


def test_every_reference_of_paper_equals_its_literal_transcription(stage):
    """(d): from photos to references, of the same retrieved photos."""
    for name in stage.bank.names:
        reference = stage.bank[name].reference
        torch.testing.assert_close(reference, stage.built[name], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize("count", [5, 27])
def test_the_whole_of_paper_equals_its_literal_transcription(stage, count, refine):
    """(e): from photos to labels; ``benchmarks/faithful.py`` does it with 59 and 171 classes."""
    pytest.importorskip("pydensecrf.densecrf")
    names, image = list(stage.bank.names[:count]), paperstage.scene(75, 101)
    expected = paper.scores(image, names, stage.built, stage.nets)
    found = Segmenter(stage.bank, names, models=stage.models, refine=refine)(image)
    torch.testing.assert_close(found.maps, expected, atol=4e-4, rtol=0)
    labels = paper.crf(expected, image) if refine else expected.argmax(dim=0).numpy()
    assert (found.labels == labels).mean() >= 0.999
    assert len(np.unique(labels)) > 1
