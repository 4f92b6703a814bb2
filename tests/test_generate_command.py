"""Completions as they grow: the pieces add up to the text, and no piece ends within a character."""

import dataclasses
import io
import json
import random
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import jax
import pytest
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models
from transformers import PreTrainedTokenizerFast

from entropy_rl.cli import main
from entropy_rl.data.tokenizers import Tokenizer
from entropy_rl.generate import Generator, GrowingText, prompts_of, read_questions
from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.policy import Policy
from entropy_rl.sampler import Sampler, Sampling
from entropy_rl.stored_policy import StoredPolicy, save_policy
from tests.byte_tokenizer import byte_tokenizer

MIXED = "漢 é😀 b\N{REPLACEMENT CHARACTER}a"


@pytest.fixture(scope="module")
def stored():
    config = Qwen2Config(
        vocab_size=258, num_layers=1, hidden_size=12, intermediate_size=17, num_heads=2, num_kv_heads=1,
        head_dim=6, rope_theta=1e4, tie_embeddings=True,
    )  # fmt: skip
    policy = Policy(config, "float32")
    return StoredPolicy(policy=policy, params=policy.init(jax.random.key(0)), tokenizer=byte_tokenizer())


@pytest.fixture(scope="module")
def folder(stored, tmp_path_factory):
    directory = tmp_path_factory.mktemp("policy")
    save_policy(stored, directory)
    return directory


def generator_of(stored, max_new_tokens=23, seed=0, **changes) -> Generator:
    sampler = Sampler(
        policy=stored.policy,
        sampling=Sampling(),
        stop_ids=stored.tokenizer.stop_ids,
        pad_id=stored.tokenizer.pad_id,
        num_samples=1,
        max_new_tokens=max_new_tokens,
        **changes,
    )
    return Generator(sampler=sampler, params=stored.params, tokenizer=stored.tokenizer, seed=seed)


def pieces_of(text: str, size: int, ending: list[int]) -> list[str]:
    tokenizer, pieces = byte_tokenizer(), []
    ids = [*tokenizer.encode(text), *ending]
    growing = GrowingText(tokenizer, pieces.append)
    for end in range(1, len(ids) + size, size):
        growing.grow(ids[:end])
    growing.end()
    return pieces


@pytest.mark.parametrize("size", [1, 2, 3, 5, 31])
@pytest.mark.parametrize("ending", [[], [256]])
def test_pieces_are_whole_characters_and_add_up_wherever_the_calls_end(size, ending):
    pieces = pieces_of(MIXED, size, ending)
    assert "".join(pieces) == MIXED and all(pieces)
    if size == 1:
        assert pieces[:4] == ["漢", " ", "é", "😀"]


def test_bytes_that_never_become_a_character_are_shown_at_the_end():
    tokenizer, pieces = byte_tokenizer(), []
    growing = GrowingText(tokenizer, pieces.append)
    half = tokenizer.encode("a漢")[:-1]
    growing.grow(half)
    assert pieces == ["a"]
    growing.end()
    assert "".join(pieces) == tokenizer.decode(half) != "a"


class Counting(Tokenizer):
    """Notes how many ids are decoded at a time."""

    def decode(self, ids) -> str:
        self.__dict__.setdefault("sizes", []).append(len(ids))
        return super().decode(ids)


@pytest.mark.parametrize("size", [1, 7])
def test_a_token_costs_no_more_to_show_the_longer_the_response_is(size):
    tokenizer, pieces = Counting(byte_tokenizer().backend, (256,)), []
    ids = tokenizer.encode(MIXED[:-2] * 53)
    growing = GrowingText(tokenizer, pieces.append)
    for end in range(1, len(ids) + size, size):
        growing.grow(ids[:end])
    growing.end()
    assert "".join(pieces) == MIXED[:-2] * 53
    assert len(ids) == 12 * 53 and max(tokenizer.sizes) <= 12 * 7  # until calls of 7 end with a character


def piece_tokenizer() -> Tokenizer:
    """Words with their space before them, which decoding takes from the beginning of a text, as Llama's."""
    words = ["<end>", "\u2581", "\u2581a", "b", "\u2581\u2581", ".", "\u6f22"]
    fast = FastTokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<end>"))
    fast.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return Tokenizer(PreTrainedTokenizerFast(tokenizer_object=fast, eos_token="<end>"), (0,))


@pytest.mark.parametrize("make", [byte_tokenizer, piece_tokenizer])
def test_pieces_of_any_tokens_in_calls_of_any_size_add_up_to_what_all_decode_to(make):
    """Ids without a token among them, and bytes that are parts of no character."""
    tokenizer, rng = make(), random.Random(5)
    for _ in range(199):
        drawn = rng.choices([i for i in range(tokenizer.vocab_size + 2) if i not in tokenizer.stop_ids], k=31)
        ends = sorted(rng.sample(range(1, 31), rng.randrange(31))) + [31]
        pieces = []
        growing = GrowingText(tokenizer, pieces.append)
        for end in ends:
            growing.grow(drawn[:end])
        growing.end()
        assert "".join(pieces) == tokenizer.decode(drawn), (drawn, ends)


@pytest.mark.parametrize("tokens_per_call", [1, 3, 512])
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_streamed_is_the_sample_of_the_same_seed(stored, tokens_per_call, seed):
    (prompt,) = prompts_of([{"prompt": "hi"}], chat=True)
    generator, pieces = generator_of(stored, seed=seed), []
    told = generator.stream(prompt, pieces.append, tokens_per_call)
    ((sample,),) = next(generator.batches([prompt], 8))
    assert "".join(pieces) == sample["completion"] and told.num_tokens == sample["num_tokens"] > 1
    assert told.first_seconds > 0 and f"{told.num_tokens} tokens" in str(told)


def test_a_response_that_ends_early_is_streamed_without_its_stop_token(stored):
    (prompt,) = prompts_of([{"prompt": "hi"}], chat=True)
    generator = generator_of(stored, max_new_tokens=499)  # a token in 258 stops
    for tokens_per_call in (7, 512):
        pieces = []
        told = generator.stream(prompt, pieces.append, tokens_per_call)
        ((sample,),) = next(generator.batches([prompt], 1))
        assert told.num_tokens == sample["num_tokens"] < 499
        assert "".join(pieces) == sample["completion"] and "<end>" not in sample["completion"]


def test_a_response_whose_first_token_stops_is_streamed_as_nothing(stored):
    (prompt,) = prompts_of([{"prompt": "hi"}], chat=True)
    always = dataclasses.replace(stored, tokenizer=Tokenizer(stored.tokenizer.backend, tuple(range(258))))
    pieces = []
    told = generator_of(always).stream(prompt, pieces.append)
    assert pieces == [] and told.num_tokens == 1 and told.tokens_per_second is None
    assert str(told).startswith("1 tokens, the first after ") and "others" not in str(told)


def test_batches_of_any_size_hold_the_same_completions_in_order(stored):
    prompts = prompts_of([{"prompt": text} for text in ("a", "bcd", "ef", "a", "é")], chat=False)
    together = [sample for batch in generator_of(stored).batches(prompts, 5) for sample in batch]
    apart = list(generator_of(stored).batches(prompts, 2))
    assert [len(batch) for batch in apart] == [2, 2, 1]
    flat = [sample for batch in apart for sample in batch]
    assert [s["completion"] for (s,) in flat] == [s["completion"] for (s,) in together]
    assert together[0] != together[3]  # the same text at another place is another prompt


def test_conversations_are_rendered_with_the_system_turn_first(stored):
    talk = [{"role": "user", "content": "a"}, {"role": "model", "content": "b"}]
    rows = [{"prompt": "hi"}, {"messages": talk}]

    def rendered(**how):
        return [stored.tokenizer.decode(p.encode(stored.tokenizer)) for p in prompts_of(rows, **how)]

    assert rendered(chat=True) == ["<user>hi<model>", "<user>a<model>b<model>"]
    assert rendered(chat=True, system="s")[0] == "<system>s<user>hi<model>"
    assert rendered(chat=False) == ["hi", "a\nb"]
    with pytest.raises(ValueError, match="--system or --no-chat"):
        prompts_of(rows, chat=False, system="s")


@pytest.mark.parametrize(
    "bad",
    [
        *("{", '{"text": "a"}', '{"prompt": 1}', '{"prompt": " "}', '{"messages": []}'),
        '{"messages": [{"role": "user"}]}',
    ],
)
def test_a_row_that_cannot_be_asked_is_named_by_file_and_line(tmp_path, bad):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a"}\n\n' + bad + "\n")
    with pytest.raises(ValueError, match="rows.jsonl:3: a row must be"):
        read_questions(rows)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def generate(folder, *arguments, out=None) -> SimpleNamespace:
    with redirect_stdout(out or io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        main(["generate", "--policy", str(folder), "--max-new-tokens", "11", *map(str, arguments)])
    return SimpleNamespace(out=out.getvalue(), err=err.getvalue())


def test_a_terminal_gets_text_and_a_pipe_gets_json(folder):
    piped = json.loads(generate(folder, "--prompt", "hi").out)
    shown = generate(folder, "--prompt", "hi", out=Terminal())
    assert shown.out == piped["completion"] + "\n" and f"{piped['num_tokens']} tokens" in shown.err
    assert generate(folder, "--prompt", "hi", "--show", "text").out == shown.out
    assert json.loads(generate(folder, "--prompt", "hi", "--show", "json", out=Terminal()).out) == piped
    two = generate(folder, "--prompt", "hi", "a", out=Terminal()).out
    assert [json.loads(line)["prompt"] for line in two.splitlines()] == ["hi", "a"]
    assert json.loads(generate(folder, "--prompt", "hi", "--no-chat").out) != piped


def test_a_file_is_answered_in_its_order_and_keeps_its_other_columns(folder, tmp_path):
    rows = [{"prompt": "a", "answer": "1"}, {"messages": [{"role": "user", "content": "b"}]}, {"prompt": "c"}]
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = ("--input", source, "--output", target, "--num-samples", "2")
    done = generate(folder, *asked, "--prompts-per-batch", "2")
    written = [json.loads(line) for line in target.read_text().splitlines()]
    assert done.out == "" and "generate 3/3" in done.err
    for number, line in enumerate(written):
        row = rows[number // 2]
        assert {key: line[key] for key in row} == row
    assert len(written) == 6
    assert all({"completion", "num_tokens", "logp"} <= set(line) for line in written)


def test_text_of_several_completions_is_refused_before_the_policy_is_read(tmp_path):
    with pytest.raises(SystemExit) as stop:
        generate(tmp_path / "absent", "--prompt", "a", "b", "--show", "text")
    assert stop.value.code == 2


def test_an_empty_prompt_is_refused_before_the_policy_is_read(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["generate", "--policy", str(tmp_path / "absent"), "--prompt", ""])
    assert stop.value.code == 2 and '"prompt" must not be empty' in capsys.readouterr().err
