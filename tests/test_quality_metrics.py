"""Quality metrics against hand-computed values, and lists that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.quality.lists import ListError, read_list
from fixtures.quality.metrics import bleu, classification, ranks_of_matches, recall_at, retrieval
from tests.tiny import images_in

IMAGE_TO_TEXT = ("recall_at_1_image_to_text", "recall_at_5_image_to_text", "recall_at_10_image_to_text")


TEXT_TO_IMAGE = ("recall_at_1_text_to_image", "recall_at_5_text_to_image", "recall_at_10_text_to_image")


def recalls(similarity: Any, image_of_text: list[int]) -> tuple[list[float], list[float]]:
    found = retrieval(np.asarray(similarity, float), image_of_text)
    return [getattr(found, name) for name in IMAGE_TO_TEXT], [getattr(found, name) for name in TEXT_TO_IMAGE]


def test_perfect_similarities_recall_everything() -> None:
    assert recalls(np.eye(20), list(range(20))) == ([1, 1, 1], [1, 1, 1])


def test_reversed_similarities_recall_what_chance_leaves() -> None:
    """Each image is nearest to the caption of its mirror image, and the own caption is last but for ties of none."""
    size = 20
    similarity = -np.abs(np.arange(size)[:, None] - np.arange(size)[::-1][None, :])
    ranks = ranks_of_matches(similarity, np.eye(size, dtype=bool))
    expected = [1 + sum(abs(i + j - 19) <= abs(2 * i - 19) for j in range(size) if j != i) for i in range(size)]
    assert ranks.tolist() == expected
    by_hand = [sum(rank <= k for rank in expected) / size for k in (1, 5, 10)]
    assert recalls(similarity, list(range(size)))[0] == by_hand
    assert by_hand[0] == 0


def test_all_ties_count_as_the_worst_rank() -> None:
    assert ranks_of_matches(np.zeros((4, 4)), np.eye(4, dtype=bool)).tolist() == [4, 4, 4, 4]
    assert recalls(np.zeros((20, 20)), list(range(20))) == ([0, 0, 0], [0, 0, 0])


def test_the_rank_is_of_the_matching_caption_and_not_of_the_first() -> None:
    """Looking for index 0 in each row would call this perfect for one image of two."""
    similarity = [[0.9, 0.1], [0.9, 0.1]]
    assert recalls(similarity, [0, 1])[0][0] == 0.5
    assert recalls(similarity, [1, 0])[0][0] == 0.5
    assert ranks_of_matches(np.array(similarity), np.eye(2, dtype=bool)).tolist() == [1, 2]


def test_several_captions_of_an_image_do_not_push_each_other_down() -> None:
    """Image 0 has captions 0 and 1, image 1 has 2; caption 2 stands between the two of image 0."""
    similarity = [[0.9, 0.2, 0.5], [0.95, 0.1, 0.3]]
    by_image, by_text = recalls(similarity, [0, 0, 1])
    assert by_image[0] == 0.5  # image 0 finds caption 0 first; image 1 finds two others before its own
    assert by_text[0] == pytest.approx(1 / 3)  # only caption 1 is nearest to its image


def test_a_similarity_that_is_no_number_is_the_farthest() -> None:
    assert ranks_of_matches(np.array([[np.nan, 0.1], [0.2, 0.3]]), np.eye(2, dtype=bool)).tolist() == [2, 1]


def test_a_query_without_a_match_is_an_error() -> None:
    with pytest.raises(ValueError, match="every query needs a match"):
        ranks_of_matches(np.zeros((2, 2)), np.array([[True, False], [False, False]]))


def test_recall_is_the_share_within_k() -> None:
    assert recall_at(np.array([1, 5, 6, 11]), 5) == 0.5


def test_classification_by_hand() -> None:
    found = classification(["a", "a", "a", "b"], ["a", "a", "b", "b"])
    assert found.top1_accuracy == 0.75
    assert found.precision_macro == pytest.approx((1 + 0.5) / 2)
    assert found.recall_macro == pytest.approx((2 / 3 + 1) / 2)
    assert found.f1_macro == pytest.approx((0.8 + 2 / 3) / 2)


def test_classes_that_only_the_model_names_do_not_dilute_the_averages() -> None:
    found = classification(["a", "a", "b", "b"], ["a", "x", "b", "y"])
    assert (found.precision_macro, found.recall_macro) == (1.0, 0.5)


def test_bleu_takes_several_references_also_of_different_number() -> None:
    same = "a cat sits on the red mat"
    assert bleu([["nothing like it at all here", same], [same]], [same, same]) == pytest.approx(100)
    assert bleu([[same], [same]], ["dogs", "birds"]) < 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must be image,caption, got 'nothing'"),
        ("image;caption\n0.png;a\n", "is the delimiter a comma"),
        ("picture,caption\n0.png,a\n", "must be image,caption, got 'picture,caption'"),
        ("image,caption\n", "lists no image"),
        ("image,caption\n0.png,\n", "line 2 of .* has no caption"),
        ("image,caption\n,words\n", "line 2 of .* has no image"),
        ("image,caption\n0.png,a\n0.png,a\n", "line 3 of .* repeats line 2"),
        ("image,caption\n0.png,a\n9.png,b\n", "line 3 of .* names the image '9.png', which does not exist"),
        ("image,caption\n0.png,a, and b\n", "line 2 of .* has 3 fields, not 2; quote"),
        ('image,caption\n0.png,"a\n', "is not a CSV file"),
        (b"image,caption\n0.png,\xff\n", "is not a CSV file in UTF-8"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    images_in(tmp_path)
    (tmp_path / "l.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ListError, match=message):
        read_list("l.csv", tmp_path, "--captions", "caption")


def test_an_image_has_one_label(tmp_path: Path) -> None:
    images_in(tmp_path)
    (tmp_path / "l.csv").write_text("image,label\n0.png,a\n0.png,b\n")
    with pytest.raises(ListError, match=r"line 3 of .* gives '0.png' a second label, 'b'"):
        read_list("l.csv", tmp_path, "--labels", "label")


def test_a_list_keeps_its_order_and_knows_its_content(tmp_path: Path) -> None:
    images_in(tmp_path)
    (tmp_path / "l.csv").write_text('\ufeffImage,Caption\n2.png,"a, b"\n0.png,c\n\n2.png,d\n', encoding="utf-8")
    found = read_list("l.csv", tmp_path, "--captions", "caption")
    assert [(row.image.name, row.text) for row in found.rows] == [("2.png", "a, b"), ("0.png", "c"), ("2.png", "d")]
    assert [path.name for path in found.images] == ["2.png", "0.png"]
    assert found.identity.startswith("captions:l.csv:")
    (tmp_path / "l.csv").write_text("image,caption\n2.png,e\n")
    assert read_list("l.csv", tmp_path, "--captions", "caption").identity != found.identity
