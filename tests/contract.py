"""What every backend promises; ``test_backends.py`` says which backends pass it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recoseg.errors import InputError
from recoseg.models.base import JointModel, PatchEncoder, encode_shared


def pictures(count=2, height=96, width=160, seed=0):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def grid(model, height=96, width=160):
    return round(height / model.stride), round(width / model.stride)


class JointContract:
    """Of a language-image model given by the fixture ``joint``."""

    def test_it_is_a_joint_model(self, joint):
        assert isinstance(joint, JointModel)
        assert len(joint.fingerprint) == 64

    def test_image_embeddings_are_unit_vectors(self, joint):
        vectors = joint.embed_images(pictures())
        assert vectors.shape == (2, joint.dim)
        assert (vectors.dtype, vectors.device.type) == (torch.float32, joint.device.type)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))

    def test_text_embeddings_are_unit_vectors(self, joint):
        vectors = joint.embed_texts(["a red car", "grass", "x"])
        assert vectors.shape == (3, joint.dim)
        assert (vectors.dtype, vectors.device.type) == (torch.float32, joint.device.type)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))

    def test_dense_map_of_a_non_square_image(self, joint):
        dense = joint.dense(pictures())
        assert dense.shape == (2, joint.dim, *grid(joint))
        assert dense.dtype == torch.float32
        torch.testing.assert_close(dense.norm(dim=1), torch.ones(2, *dense.shape[-2:]))

    @pytest.mark.parametrize("size", [(32, 1024), (1000, 40), (77, 131), (35, 33)])
    def test_dense_map_of_any_size(self, joint, size):
        dense = joint.dense(pictures(1, *size))
        assert dense.shape[:2] == (1, joint.dim)
        assert all(
            abs(n - s / joint.stride) <= 1 for n, s in zip(dense.shape[2:], size, strict=True)
        )
        assert dense.isfinite().all()

    def test_an_embedding_does_not_depend_on_its_batch(self, joint):
        batch = pictures(3)
        for encode in (joint.embed_images, joint.dense):
            alone = torch.cat([encode(batch[i : i + 1]) for i in range(3)])
            torch.testing.assert_close(encode(batch), alone, atol=1e-4, rtol=1e-4)

    def test_a_text_does_not_depend_on_its_batch(self, joint):
        texts = ["dog", "a photo of a very long caption about a dog on a beach", "sea"]
        alone = torch.cat([joint.embed_texts([text]) for text in texts])
        torch.testing.assert_close(joint.embed_texts(texts), alone, atol=1e-5, rtol=1e-4)

    def test_it_is_deterministic(self, joint):
        assert torch.equal(joint.embed_images(pictures()), joint.embed_images(pictures()))
        assert torch.equal(joint.embed_texts(["tree"]), joint.embed_texts(["tree"]))

    def test_several_threads_may_call_it(self, joint):
        batches = [pictures(1, seed=seed) for seed in range(4)]
        expected = [joint.embed_images(batch) for batch in batches]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(joint.embed_images, batches))
        torch.testing.assert_close(torch.cat(found), torch.cat(expected), atol=1e-5, rtol=1e-4)

    def test_it_preprocesses_any_image(self, joint):
        for shape in ((40, 700, 3), (500, 333, 3), (1, 1, 3)):
            pixels = joint.preprocess(np.full(shape, 90, np.uint8))
            assert pixels.shape[0] == 3
            assert pixels.shape[1] == pixels.shape[2]
            assert 0 <= pixels.min() <= pixels.max() <= 1

    def test_it_computes_no_gradients(self, joint):
        assert not joint.dense(pictures()).requires_grad
        assert not joint.embed_images(pictures()).requires_grad


class EncoderContract:
    """Of a visual encoder given by the fixture ``encoder``."""

    def test_it_is_an_encoder(self, encoder):
        assert isinstance(encoder, PatchEncoder)
        assert len(encoder.fingerprint) == 64

    def test_features_of_a_non_square_image(self, encoder):
        features = encoder.features(pictures())
        assert features.shape == (2, encoder.dim, *grid(encoder))
        assert (features.dtype, features.device.type) == (torch.float32, encoder.device.type)
        assert features.isfinite().all()
        assert not features.requires_grad

    @pytest.mark.parametrize("size", [(32, 1024), (1000, 40), (77, 131)])
    def test_features_of_any_size(self, encoder, size):
        shape = encoder.features(pictures(1, *size)).shape
        assert all(abs(n - s / encoder.stride) <= 1 for n, s in zip(shape[2:], size, strict=True))

    def test_an_image_does_not_depend_on_its_batch(self, encoder):
        batch = pictures(3)
        alone = torch.cat([encoder.features(batch[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(encoder.features(batch), alone, atol=1e-4, rtol=1e-4)

    def test_it_is_deterministic(self, encoder):
        assert torch.equal(encoder.features(pictures()), encoder.features(pictures()))

    def test_several_threads_may_call_it(self, encoder):
        batches = [pictures(1, seed=seed) for seed in range(4)]
        expected = [encoder.features(batch) for batch in batches]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(encoder.features, batches))
        torch.testing.assert_close(torch.cat(found), torch.cat(expected), atol=1e-5, rtol=1e-4)

    def test_rows_and_columns_lie_as_in_the_image(self, encoder):
        image = pictures(1, 128, 192)
        changed = image.clone()
        changed[:, :, :64, 96:] = pictures(1, 64, 96, seed=1)
        change = (encoder.features(changed) - encoder.features(image)).norm(dim=1)
        quarters = F.adaptive_avg_pool2d(change[:, None], 2).flatten()
        assert int(quarters.argmax()) == 1


class BothContract(JointContract, EncoderContract):
    """Of a model that is both, and may serve both from one pass."""

    def test_both_maps_from_one_pass_equal_the_two(self, joint):
        dense, features = encode_shared(joint, joint, pictures())
        torch.testing.assert_close(dense, joint.dense(pictures()))
        torch.testing.assert_close(features, joint.features(pictures()))


def refuses_wrong_shapes(encode):
    with pytest.raises(InputError, match="B, 3, H, W"):
        encode(torch.zeros(3, 32, 32))
