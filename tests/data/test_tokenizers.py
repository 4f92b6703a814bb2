"""Tokenizers: the countdown one built in, saved and loaded, and the real one of Qwen2.5."""

import json

import pytest
from tokenizers import Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as FastTokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from entropy_rl.data.tokenizers import COUNTDOWN_CHARACTERS, ChatMessage, countdown_tokenizer, load_tokenizer


def test_countdown_text_is_one_token_a_character_and_comes_back():
    tokenizer = countdown_tokenizer()
    text = "3,5,7=22: (3*5)+7-0"
    ids = tokenizer.encode(text)
    assert len(ids) == len(text) and tokenizer.decode(ids) == text
    assert tokenizer.vocab_size == len(COUNTDOWN_CHARACTERS) + 3 <= 32


def test_special_tokens_and_ids_without_a_token_show_in_decoded_text():
    tokenizer = countdown_tokenizer()
    pad, stop = tokenizer.backend.convert_ids_to_tokens([tokenizer.pad_id, tokenizer.stop_ids[0]])
    ids = [tokenizer.pad_id, *tokenizer.encode("3*5"), tokenizer.vocab_size, *tokenizer.stop_ids]
    assert tokenizer.decode(ids) == f"{pad}3*5\ufffd{stop}" and pad and stop
    assert tokenizer.decode([]) == ""


def test_characters_outside_countdown_become_unknown_one_by_one():
    tokenizer = countdown_tokenizer()
    assert tokenizer.encode("3x\n\u00e9") == [*tokenizer.encode("3"), 2, 2, 2]


def test_a_saved_tokenizer_loads_as_the_same_here_and_in_transformers(tmp_path):
    tokenizer = countdown_tokenizer()
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    text = "1,2,9=11:"
    assert tokenizer.encode(text) == loaded.encode(text) == theirs.encode(text, add_special_tokens=False)
    assert (loaded.pad_id, loaded.stop_ids, loaded.vocab_size) == (0, (1,), tokenizer.vocab_size)
    assert loaded.decode(loaded.encode("(1 + 2)")) == "(1 + 2)"


def test_text_is_what_was_sampled_even_where_a_tokenizer_would_tidy_it(tmp_path):
    """Many of Hugging Face's ask for it: "a ." would be shown, and judged, as "a."."""
    fast = FastTokenizer(models.WordLevel({"<end>": 0, "a": 1, ".": 2, " ": 3}, unk_token="<end>"))
    fast.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    fast.decoder = decoders.Fuse()
    tidy = PreTrainedTokenizerFast(
        tokenizer_object=fast, eos_token="<end>", clean_up_tokenization_spaces=True
    )
    tidy.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).decode([1, 3, 2]) == "a."
    assert load_tokenizer(tmp_path).decode([1, 3, 2]) == "a ."


def test_without_a_chat_template_a_conversation_is_its_text():
    tokenizer = countdown_tokenizer()
    assert tokenizer.encode_chat([ChatMessage("user", "3,5")]) == tokenizer.encode("3,5")


@pytest.mark.parametrize("generation_stop_ids, expected", [([1, 5], (1, 5)), (7, (1, 7))])
def test_stop_ids_of_the_generation_config_are_added(tmp_path, generation_stop_ids, expected):
    countdown_tokenizer().save(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": generation_stop_ids}))
    assert load_tokenizer(tmp_path).stop_ids == expected


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold tokenizer.json"):
        load_tokenizer(tmp_path)


def test_the_qwen_tokenizer_opens_the_turn_of_the_model(shared_folder):
    tokenizer = load_tokenizer(shared_folder / "tokenizer/qwen2_5")
    rendered = tokenizer.render_chat([ChatMessage("user", "Two and two?")])
    assert rendered.endswith("<|im_start|>user\nTwo and two?<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.decode(tokenizer.encode("x^2 \u2265 3")) == "x^2 \u2265 3"
    assert tokenizer.stop_ids == (151645,) and tokenizer.pad_id == 151643
